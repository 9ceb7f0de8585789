"""The state_dict is found in the checkpoints of all training programs."""

import argparse

import torch

from tests.models.weights.reference_vit import Reference, check, mae_weights


def test_options_beside_the_weights_do_no_harm(tmp_path):
    ref = Reference(t=1, steps=1, cls=True)
    torch.save({"args": argparse.Namespace(lr=1.0), "model": mae_weights(ref)}, tmp_path / "w.pth")
    check(tmp_path / "w.pth", ref, torch.randn(1, 3, 32, 32))
