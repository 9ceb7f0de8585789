"""Parameter groups and learning rates in plain numbers."""

import math

import pytest
import torch
from timm.models.vision_transformer import vit_tiny_patch16_224
from timm.optim import param_groups_layer_decay

from diffmae_video.models.encoder import Encoder
from diffmae_video.training.optimizer import WarmupCosine, build_optimizer, parameter_groups
from tests.tiny_models import tiny_diffmae


def test_matrices_decay_and_nothing_else_does():
    model = tiny_diffmae(encoder={"class_token": True, "positions": "learned"})
    decayed, free = parameter_groups(model, 0.05)
    names = {id(p): name for name, p in model.named_parameters()}
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.05, 0.0)
    assert {names[id(p)] for p in free["params"]} == {
        name
        for name, p in model.named_parameters()
        if name.endswith("bias") or "norm" in name or "positions" in name or "cls_token" in name
    }
    assert len(decayed["params"]) + len(free["params"]) == len(names)


def test_layers_decay_as_in_timm_but_for_the_norm():
    encoder = Encoder((32, 32), 4, (2, 8, 8), 32, depth=3, heads=2, class_token=True, positions="joint")
    peer = vit_tiny_patch16_224(depth=3, num_classes=0)

    def scales(model, groups):
        names = {id(p): name for name, p in model.named_parameters()}
        return {names[id(p)]: (g["lr_scale"], g["weight_decay"]) for g in groups for p in g["params"]}

    ours = scales(encoder, parameter_groups(encoder, 0.05, layer_decay=0.5))
    theirs = scales(peer, param_groups_layer_decay(peer, 0.05, ("pos_embed", "cls_token"), layer_decay=0.5))
    renamed = {"positions.joint": "pos_embed", "patch_embed.weight": "patch_embed.proj.weight"}
    renamed["patch_embed.bias"] = "patch_embed.proj.bias"
    last = {name: value for name, value in ours.items() if name.startswith("norm.")}
    assert last == {"norm.weight": (1.0, 0.0), "norm.bias": (1.0, 0.0)}
    # timm's last layer is then the last block, one step further up
    assert {renamed.get(k, k): (2 * s, w) for k, (s, w) in ours.items() if k not in last} == {
        k: v for k, v in theirs.items() if not k.startswith("norm.")
    }


def test_fused_adamw_is_adamw():
    torch.manual_seed(0)
    one, two = tiny_diffmae(), tiny_diffmae()
    two.load_state_dict(one.state_dict())
    ours = build_optimizer(one, 0.05, (0.9, 0.95))
    plain = torch.optim.AdamW(parameter_groups(two, 0.05), lr=0.0, betas=(0.9, 0.95), foreach=False)
    for step in range(3):
        clip = torch.randn(2, 3, 4, 32, 32)
        for model, optimizer in ((one, ours), (two, plain)):
            for group in optimizer.param_groups:
                group["lr"] = 1e-3
            model(clip, generator=torch.Generator().manual_seed(step)).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    for (name, a), b in zip(one.named_parameters(), two.parameters(), strict=True):
        # Softmax cancels a bias of keys: its gradient is rounding, which AdamW makes as large as any.
        if not name.endswith("kv.bias"):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4, msg=name)


def test_warm_up_rises_then_half_a_cosine_falls():
    rate = WarmupCosine(peak=1.0, steps=100, warmup=20)
    for step in range(100):
        x = step + 0.5
        expected = x / 20 if x < 20 else (1 + math.cos(math.pi * (x - 20) / 80)) / 2
        assert rate(step) == pytest.approx(expected, abs=1e-9)
    assert WarmupCosine(1.0, 10, 0)(0) > 0.98
