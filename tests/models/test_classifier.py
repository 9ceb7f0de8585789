"""The classifier against timm's ViT on the same weights, and what it keeps of an encoder."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from diffmae_video import InputError, load_encoder, load_model
from diffmae_video.models import Classifier, Encoder
from diffmae_video.models.weights.timm_format import timm_weights

CLASSES = ["run", "jump", "swim"]


def encoder(**kwargs):
    sizes = {"image_size": (32, 48), "num_frames": 1, "patch": (1, 8, 8), "width": 32, "depth": 3, "heads": 2}
    return Encoder(**{**sizes, **kwargs}).eval()


@pytest.mark.parametrize("pool", ["mean", "token"])
def test_it_is_timms_vit(pool):
    ours = encoder(class_token=True, positions="learned")
    torch.nn.init.normal_(ours.positions.spatial, std=0.5)
    model = Classifier.on(ours, CLASSES, pool=pool).eval()
    torch.nn.init.normal_(model.head.weight)
    peer = VisionTransformer(
        (32, 48), 8, embed_dim=32, depth=3, num_heads=2, num_classes=3,
        global_pool="avg" if pool == "mean" else "token",
    ).eval()  # fmt: skip
    weights = timm_weights(ours) | {f"head.{k}": v for k, v in model.head.state_dict().items()}
    if pool == "mean":  # timm as well has a norm after the mean in place of the one before it
        weights = {k: v for k, v in weights.items() if not k.startswith("norm.")}
        weights |= {f"fc_norm.{k}": v for k, v in model.fc_norm.state_dict().items()}
    peer.load_state_dict(weights)
    pictures = torch.randn(2, 3, 32, 48)
    torch.testing.assert_close(model(pictures), peer(pictures), atol=1e-5, rtol=1e-5)


def test_it_keeps_the_encoder_and_comes_back_from_its_folder(tmp_path):
    ours = encoder(num_frames=4, patch=(2, 8, 8), positions="sharp")
    model = Classifier.on(ours, CLASSES, drop_path=0.2, dropout=0.5, mean=[0.5] * 3, std=[0.2] * 3)
    theirs = model.encoder.state_dict()
    assert theirs.keys() == {k for k in ours.state_dict() if not k.startswith("norm.")}
    assert all(torch.equal(value, ours.state_dict()[key]) for key, value in theirs.items())
    assert [block.drop_path1.drop_prob for block in model.encoder.blocks[1:]] == pytest.approx([0.1, 0.2])
    model.save_pretrained(tmp_path)
    again, clip = load_model(tmp_path), torch.randn(2, 3, 4, 32, 48)
    assert (again.classes, again.mean, again.std) == (CLASSES, (0.5,) * 3, (0.2,) * 3)
    assert torch.equal(again(clip), model.eval()(clip))
    tokens = load_encoder(tmp_path)(clip)  # of the last block: there is no norm behind them
    assert torch.equal(tokens, model.encode(clip))
    assert torch.equal(model.features(clip), model.fc_norm(tokens.mean(1)))


def test_a_still_clip_is_its_image_to_an_image_model_made_one_of_video(tmp_path):
    """Inflated, a frame's token repeats over time: the mean over tokens, and so the logits, are the same."""
    image = encoder(positions="learned")
    torch.nn.init.normal_(image.positions.spatial, std=0.5)
    image.save_pretrained(tmp_path / "image")
    model = Classifier.on(image, CLASSES).eval()
    video = Classifier.on(load_encoder(tmp_path / "image", num_frames=4), CLASSES).eval()
    torch.nn.init.normal_(model.head.weight)
    video.head.load_state_dict(model.head.state_dict())
    picture = torch.randn(2, 3, 32, 48)
    still = picture[:, :, None].repeat(1, 1, 4, 1, 1)
    torch.testing.assert_close(video(still), model(picture), atol=1e-5, rtol=1e-5)
    video.save_pretrained(tmp_path / "video")
    back = Classifier.on(load_encoder(tmp_path / "video", num_frames=1), CLASSES).eval()
    back.head.load_state_dict(model.head.state_dict())
    torch.testing.assert_close(back(picture), model(picture), atol=1e-5, rtol=1e-5)


def test_freezing_leaves_the_rest_to_train():
    model = Classifier.on(encoder(class_token=True, positions="learned"), CLASSES)
    model.freeze(2)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"encoder", "fc_norm", "head"}
    assert {".".join(name.split(".")[1:3]) for name in trained if name.startswith("encoder")} == {"blocks.2"}
    with pytest.raises(InputError, match=r"FINETUNE.FREEZE: 4 blocks, but the encoder has 3"):
        model.freeze(4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": []}, "each named once; got 0 names"),
        ({"classes": ["a", "a"]}, "each named once; got 2 names"),
        ({"pool": "max"}, "unknown pool 'max'"),
        ({"pool": "token"}, "no class token to pool by"),
    ],
)
def test_what_makes_no_classifier(arguments, message):
    with pytest.raises(InputError, match=message):
        Classifier.on(encoder(), **{"classes": CLASSES, **arguments})


def test_probabilities():
    logits = torch.randn(4, 3)
    one = Classifier.on(encoder(), CLASSES)
    several = Classifier.on(encoder(), CLASSES, multi_label=True)
    torch.testing.assert_close(one.probabilities(logits).sum(-1), torch.ones(4))
    torch.testing.assert_close(several.probabilities(logits), 1 / (1 + torch.exp(-logits)))
