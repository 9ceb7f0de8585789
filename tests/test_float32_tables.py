"""Tables that a cast leaves alone."""

import copy

import torch
from torch import nn

from diffmae_video.diffusion import NoiseSchedule


def test_a_cast_leaves_tables_in_float32():
    model = nn.Sequential(nn.Linear(2, 2), NoiseSchedule())
    signal = model[1].signal.clone()
    for cast in (model.bfloat16, model.half, model.double, lambda: model.to("cpu", torch.bfloat16)):
        cast()
        assert model[1].signal.dtype == torch.float32
        assert torch.equal(model[1].signal, signal)
    assert model[0].weight.dtype == torch.bfloat16


def test_tables_move_with_the_model_and_stay_out_of_its_file():
    model = nn.Sequential(nn.Linear(2, 2), NoiseSchedule())
    assert model.state_dict().keys() == {"0.weight", "0.bias"}
    moved = copy.deepcopy(model).to("meta", torch.bfloat16)
    assert moved[1].signal.device.type == "meta"
    assert moved[1].signal.dtype == torch.float32
