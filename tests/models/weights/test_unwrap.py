"""The state_dict is found in the checkpoints of all training programs."""

import argparse

import pytest
import torch

from diffmae_video import InputError
from diffmae_video.models.weights.unwrap import unwrap
from tests.models.weights.reference_vit import Reference, check, mae_weights

WEIGHTS = {"patch_embed.proj.weight": torch.ones(2, 3), "norm.bias": torch.zeros(2)}
OTHER = {key: value + 1 for key, value in WEIGHTS.items()}
ADAM = {"state": {0: {"exp_avg": torch.zeros(2, 3)}}, "param_groups": [{"lr": 0.1}]}
BY_NAME = {"state": {"norm.bias": {"exp_avg": torch.zeros(2), "step": torch.tensor(3.0)}}}
RANDOM_STATE = torch.zeros(8, dtype=torch.uint8)


def test_options_beside_the_weights_do_no_harm(tmp_path):
    ref = Reference(t=1, steps=1, cls=True)
    torch.save({"args": argparse.Namespace(lr=1.0), "model": mae_weights(ref)}, tmp_path / "w.pth")
    check(tmp_path / "w.pth", ref, torch.randn(1, 3, 32, 32))


def prefixed(prefix, weights=WEIGHTS):
    return {prefix + key: value for key, value in weights.items()}


@pytest.mark.parametrize(
    ("content", "expected", "removed"),
    [
        (WEIGHTS, WEIGHTS, ""),
        ({"model": WEIGHTS, "optimizer": ADAM, "epoch": 3, "scaler": {"scale": 1.0}}, WEIGHTS, ""),
        ({"arch": {"width": 3}, "model": {"name": "vit"}, "state_dict": WEIGHTS}, WEIGHTS, ""),
        ({"model": {"state_dict": prefixed("module._orig_mod.")}}, WEIGHTS, "module._orig_mod."),
        ({"net": WEIGHTS, "optim": BY_NAME, "rng": RANDOM_STATE},
         {**prefixed("net."), "rng": RANDOM_STATE}, ""),
        ({"backbone": WEIGHTS, "head": {"fc.weight": torch.ones(2, 2)}},
         {**prefixed("backbone."), "head.fc.weight": torch.ones(2, 2)}, ""),
        ({"teacher": {"backbone": WEIGHTS}, "student": OTHER, "epoch": 1},
         {**prefixed("teacher.backbone."), **prefixed("student.", OTHER)}, ""),
    ],
)  # fmt: skip
def test_weights_are_found(tmp_path, content, expected, removed, caplog):
    weights, prefix = unwrap(content, tmp_path)
    assert prefix == removed
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[key], value) for key, value in expected.items())
    assert not caplog.messages


def test_of_several_models_the_usual_key_is_read_and_a_line_says_so(tmp_path, caplog):
    weights, _ = unwrap({"model_ema": OTHER, "model": WEIGHTS, "optimizer": BY_NAME}, tmp_path)
    assert torch.equal(weights["norm.bias"], WEIGHTS["norm.bias"])
    assert caplog.messages == [f"{tmp_path}: reads the weights under 'model', not under model_ema"]


def test_wrappers_of_inner_modules_are_removed(tmp_path, caplog):
    keys = [
        "_fsdp_wrapped_module.blocks.0._checkpoint_wrapped_module.attn._orig_mod.w",
        "_fsdp_wrapped_module.b",
    ]
    weights, prefix = unwrap({key: torch.ones(1) for key in keys}, tmp_path)
    assert prefix == "_fsdp_wrapped_module."
    assert list(weights) == ["blocks.0.attn.w", "b"]
    assert caplog.messages == [
        f"{tmp_path}: removed '_checkpoint_wrapped_module.', '_orig_mod.' from within its keys"
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "no weights here, nor under the keys model, module"),
        ({}, "no weights here"),
        ({"model": {}, "epoch": 1}, "no weights here"),
        ({"optimizer": ADAM, "epoch": 1}, "no weights here"),
        ({"model": {**WEIGHTS, "step": 3}}, "not tensors: step; save the state_dict alone"),
    ],
)
def test_a_checkpoint_without_weights_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        unwrap(content, tmp_path)
