"""DDPM: its network against timm's ViT, and its backbone."""

import torch
from timm.models.vision_transformer import VisionTransformer

from diffmae_video import load_encoder
from diffmae_video.models.layers import TimestepEmbedding
from diffmae_video.models.weights.timm_format import timm_weights
from tests.models.denoising_models import ddpm


@torch.no_grad()
def test_ddpm_is_timms_vit_with_the_timestep_as_its_first_token():
    model = ddpm()
    xt, t = torch.randn(2, 3, 1, 16, 16), torch.tensor([1, 700])
    peer = VisionTransformer(16, 4, embed_dim=32, depth=2, num_heads=2, num_classes=0, global_pool="").eval()
    for row in range(2):
        weights = timm_weights(model.backbone())
        weights["cls_token"] = model.timestep(t[row : row + 1])[:, None]
        peer.load_state_dict(weights)
        tokens = peer(xt[row : row + 1, :, 0])[:, 1:]
        patches = model.head(tokens).view(1, 4, 4, 4, 4, 3)  # rows, columns, of pixels p, q, c
        picture = patches.permute(0, 5, 1, 3, 2, 4).reshape(1, 3, 16, 16)
        torch.testing.assert_close(model.network(xt, t)[row : row + 1, :, 0], picture, atol=1e-5, rtol=1e-5)


def test_ddpm_takes_clips_and_its_backbone_is_an_encoder_at_t_0(tmp_path):
    model = ddpm(frames=4)
    model.save_pretrained(tmp_path)
    clip = torch.randn(2, 3, 4, 16, 16)
    assert model(clip).prediction.shape == clip.shape
    tokens = model.encode(clip)
    assert tokens.shape == (2, 32, 32)
    torch.testing.assert_close(load_encoder(tmp_path)(clip), tokens)
    model.timestep.fc2.bias.data += 1
    assert not torch.allclose(model.encode(clip), tokens)
    assert isinstance(model.timestep, TimestepEmbedding)
