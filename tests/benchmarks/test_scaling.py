"""The simulator against numbers by hand, against measured speed, and its page against its output."""

import runpy
import sys
from dataclasses import replace

import pytest

from diffmae_video import load_config
from diffmae_video.benchmarks.scaling import Assumptions, simulate
from diffmae_video.build import meta_model
from diffmae_video.cost.flops import Cost, training_cost
from tests.repository import ROOT

# decoder, precision: GFLOP/s and clips/s, measured on a CPU (docs/speed.md)
MEASURED = {
    ("cross", "fp32"): (163.6, 0.562),
    ("cross", "bf16"): (309.3, 1.063),
    ("cross_self", "bf16"): (287.7, 0.625),
}


def by_hand():
    assumed = Assumptions(
        peak_tflops=1000,
        utilisation=0.5,
        bandwidth_gb=100,
        memory_tb=1,
        block_ms=1,
        videos=1280,
        video_frames=300,
        video_mb=2,
        clips_per_core=50,
    )
    cfg = load_config(ROOT / "configs/k400/pretrain_vit_b.yaml", ["TRAIN.EPOCHS", 10])
    return cfg, Cost(parameters=10**9, encoder_macs=40 * 10**9, decoder_macs=60 * 10**9), assumed


def test_a_step_by_hand_where_arithmetic_is_the_limit():
    run = simulate(*by_hand()[:2], 8, by_hand()[2])
    assert (run.videos, run.clips, run.clips_per_gpu) == (128, 512, 64)
    assert run.compute == pytest.approx(64 * 600e9 / 500e12)  # 76.8 ms
    assert run.launches == pytest.approx(0.020)  # 12 + 8 blocks
    assert run.exchange == pytest.approx(2 * 7 / 8 * 2e9 / 100e9)  # 35 ms
    # the weights, and the last of 40 buckets of gradients; the others hide behind 51.2 ms of backward
    assert run.exposed == pytest.approx(0.0175 + 0.0175 / 40)
    assert run.optimizer == pytest.approx(44e9 / 8 / 1e12)  # 5.5 ms
    step = 0.0768 + 0.0179375 + 0.0055
    assert run.step == pytest.approx(step)
    assert run.limit == "arithmetic"
    assert run.clips_per_s == pytest.approx(512 / step)
    assert run.frames_per_s == pytest.approx(128 / step * 4 * 61)
    assert run.storage == pytest.approx(128 / step * 2e6)
    assert run.cores == pytest.approx(512 / step / 50)
    assert run.days == pytest.approx(100 * step / 86400)  # 12800 videos in steps of 128
    assert run.gpu_hours == pytest.approx(100 * step * 8 / 3600)


def test_a_step_by_hand_where_the_exchange_is_the_limit():
    cfg, cost, assumed = by_hand()
    run = simulate(cfg, cost, 256, assumed)
    assert (run.videos, run.clips_per_gpu) == (256, 4)  # a video for each GPU: twice the recipe's batch
    assert run.exchange == pytest.approx(2 * 255 / 256 * 2e9 / 100e9)
    # Arithmetic takes 4.8 ms and launches 20 ms, of which 13.3 ms are the backward pass.
    half = 255 / 256 * 2e9 / 100e9
    assert run.exposed == pytest.approx(half + half - 0.0133333, rel=1e-5)
    assert run.limit == "exchange"
    assert run.step == pytest.approx(0.020 + run.exposed + 44e9 / 256 / 1e12)
    assert run.clips_per_s == pytest.approx(1024 / run.step)
    assert run.days == pytest.approx(50 * run.step / 86400)


def test_a_step_is_no_shorter_than_its_launches():
    cfg, cost, assumed = by_hand()
    run = simulate(cfg, replace(cost, parameters=1), 256, replace(assumed, block_ms=10))
    assert run.limit == "launches"
    assert run.step == pytest.approx(0.2)


@pytest.mark.parametrize(("kind", "precision"), MEASURED)
def test_predicted_clips_are_those_that_the_benchmark_measured(kind, precision):
    gflops, clips = MEASURED[kind, precision]
    cfg = load_config(ROOT / "configs/bench/train.yaml", ["MODEL.DECODER.KIND", kind])
    cost, assumed = (
        training_cost(meta_model(cfg)),
        Assumptions(peak_tflops=gflops / 1000, utilisation=1, memory_tb=1e9),
    )
    run = simulate(cfg, cost, 1, assumed)
    assert run.clips_per_s == pytest.approx(clips, rel=0.02)


@pytest.fixture
def run_tool(monkeypatch, capsys):
    """``run_tool(argument, ...)``: exit code, stdout and stderr of tools/scaling.py."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["scaling.py", *arguments])
        with pytest.raises(SystemExit) as exit_info:
            runpy.run_path(str(ROOT / "tools/scaling.py"), run_name="__main__")
        return exit_info.value.code, *capsys.readouterr()

    return run


def test_the_page_holds_what_the_tool_prints(run_tool):
    code, printed, error = run_tool()
    assert code == 0, error
    assert printed in (ROOT / "docs/scaling.md").read_text(encoding="utf-8")


def test_options_and_assumptions_change_the_tables(run_tool):
    small = ["DATA.SIZE", "64", "MODEL.ENCODER.SIZE", "S"]
    recipe = str(ROOT / "configs/k400/mae_vit_l.yaml")
    code, printed, error = run_tool("--config", recipe, "--gpus", "4,16", "--videos", "1000", *small)
    assert code == 0, error
    assert "| mae_vit_l | 4 | 128 = 512 |" in printed
    assert "| mae_vit_l | 16 | 128 = 512 |" in printed
    assert "| `videos` | 1,000 |" in printed
    assert "pretrain_vit_b" not in printed


def test_help_has_examples(run_tool):
    code, printed, _ = run_tool("--help")
    assert code == 0
    assert "diffmae scaling" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpus", "0"], "must be above 0"),
        (["--gpus", "8 x"], "whole numbers separated by commas"),
        (["--utilisation", "0"], "must be above 0"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: no such config file"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(run_tool, arguments, message):
    code, _, error = run_tool(*arguments)
    assert code == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1
