"""The figures of training steps."""

import torch

from diffmae_video import load_config
from diffmae_video.benchmarks.figure_log import FigureLog
from diffmae_video.benchmarks.steps import bare_step, peer_step, step_flops
from diffmae_video.benchmarks.training import layer_shapes, step_rows
from diffmae_video.cost.flops import count_macs
from tests.benchmarks.tiny import TINY

CPU = torch.device("cpu")
CFG = load_config("bench/gpu", TINY)


def test_each_loop_has_a_row():
    rows = step_rows(FigureLog(), CFG, compiled=[False], product=1e12)
    assert [row["loop"] for row in rows] == ["bare", "engine", "hf"]
    assert all(row["batch"] == 4 and row["ms"] > 0 for row in rows)
    assert all(abs(row["of_product"] - row["tflops"]) < 2e-3 for row in rows)


def test_a_repeated_video_counts_as_often_as_its_clips():
    assert bare_step(CFG, CPU).clips == 4
    assert step_flops(load_config("bench/gpu", [*TINY, "DATA.REPEATS", 2])) * 2 == step_flops(CFG)


def test_the_peer_has_our_encoder():
    step = peer_step(CFG, CPU)
    (model,) = {
        cell.cell_contents
        for cell in step.run.__closure__[0].cell_contents.__closure__ or ()
        if isinstance(cell.cell_contents, torch.nn.Module)
    }
    assert model.config.hidden_size == 32
    assert model.config.num_hidden_layers == 2
    hidden = torch.zeros(1, 8, dtype=torch.bool)
    hidden[:, 2:] = True
    pixels = torch.randn(1, 4, 3, 32, 32, dtype=torch.bfloat16)
    counted = 6 * 4 * count_macs(model.eval(), pixels, hidden)
    assert abs(step.flops / counted - 1) < 0.01


def test_shapes_of_the_layers_are_those_of_a_step():
    assert layer_shapes(CFG)[1:] == [(8, 32, 128), (8, 128, 32), (24, 32, 128), (24, 128, 32)]
