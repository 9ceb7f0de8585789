"""tools/pretrain.py as users start it: python, torchrun, deepspeed; every ZeRO stage."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from diffmae_video import load_config, load_model
from diffmae_video.runtime.processes import free_port
from tests.calls import diffmae
from tests.integration.runs import command, environment, losses, rows
from tests.repository import ROOT

PYTHON = [sys.executable]
BIN = Path(sys.executable).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port"]
DEEPSPEED = [sys.executable, str(BIN / "deepspeed"), "--num_gpus", "1", "--master_port"]


def pretrain(launcher, films, output, *options):
    port = [] if launcher == PYTHON else [str(free_port())]
    started = [*launcher, *port, *command(films, output, "TRAIN.MAX_STEPS", 4, *options)]
    return subprocess.run(started, capture_output=True, text=True, timeout=300, env=environment())


def pretrain_here(films, output, *options):
    """The same in this process."""
    return diffmae("pretrain", *command(films, output, "TRAIN.MAX_STEPS", 4, *options)[1:])


@pytest.fixture(scope="module")
def alone(tmp_path_factory, films):
    """One process on batches of four videos, validated on them."""
    output = tmp_path_factory.mktemp("alone")
    options = ("TRAIN.BATCH_SIZE", 4, "DATA.VAL", films, "VALIDATION.EVERY_STEPS", 2, "VALIDATION.CLIPS", 6)
    done = pretrain(PYTHON, films, output, *options, "TRAIN.EMA", 0.9)
    assert done.returncode == 0, done.stderr
    return output, done


@pytest.mark.slow
def test_a_run_leaves_a_whole_folder(alone):
    output, done = alone
    assert sorted(p.name for p in output.iterdir()) == [
        "checkpoints", "config.json", "config.yaml", "ema.safetensors", "environment.json", "metrics.jsonl",
        "model.safetensors", "tensorboard", "validation.jsonl",
    ]  # fmt: skip
    assert (
        "4 steps of 4 videos = 8 clips, learning rate 0.002 = 0.064 x 8 clips / 256 (by videos" in done.stdout
    )
    assert done.stdout.endswith(f"\nthe model is in {output}\n")
    assert done.stderr == ""
    model = load_model(output)
    assert model.encoder.positions.kind == "sharp"
    assert all(v.dtype == torch.float32 for v in load_file(output / "model.safetensors").values())
    assert load_file(output / "ema.safetensors").keys() == model.state_dict().keys()
    assert [row["step"] for row in rows(output)] == [1, 2, 3, 4]
    assert rows(output)[0].keys() >= {
        "lr",
        "loss",
        "grad_norm",
        "data_ms",
        "step_ms",
        "clips_per_s",
        "memory_mb",
    }
    validations = rows(output, "validation.jsonl")
    assert [row["step"] for row in validations] == [2, 4]
    last = json.loads((output / "checkpoints/step_00000004/state.json").read_text())
    best = min(validations, key=lambda row: row["loss"])
    assert (last["best_step"], last["best_cost"]) == (best["step"], best["loss"])
    assert (last["step"], last["samples"], last["epoch"], last["adam_steps"]) == (4, 16, 2, 4)
    again = pretrain_here("nowhere", output)
    assert again.returncode == 2
    assert "already holds a run; continue it with --resume" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 3])
def test_zero_stages_and_processes_give_the_same_run(tmp_path, films, alone, stage):
    """At an equal batch a step's clips, masks, timesteps and noise are the same; so are validations."""
    output, _ = alone
    options = ("TRAIN.BATCH_SIZE", 2, "DATA.VAL", films, "VALIDATION.EVERY_STEPS", 2, "VALIDATION.CLIPS", 6)
    done = pretrain(TORCHRUN, films, tmp_path, *options, "DEEPSPEED.ZERO_STAGE", stage)
    assert done.returncode == 0, done.stderr
    assert "fp32 on 2 x cpu; 4 steps of 4 videos = 8 clips" in done.stdout
    assert losses(tmp_path) == pytest.approx(losses(output), rel=1e-4)
    measured = [[row["loss"] for row in rows(x, "validation.jsonl")] for x in (tmp_path, output)]
    assert measured[0] == pytest.approx(measured[1], rel=1e-4)
    ours, theirs = load_file(tmp_path / "model.safetensors"), load_file(output / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if not name.endswith("kv.bias"):  # its gradient is rounding, see test_optim
            torch.testing.assert_close(value, theirs[name], atol=2e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "accumulation", "stage"), [(1, 4, 0), (2, 2, 2)])
def test_accumulation_gives_the_same_run(tmp_path, films, alone, batch, accumulation, stage):
    options = ("TRAIN.BATCH_SIZE", batch, "TRAIN.ACCUMULATION", accumulation, "DEEPSPEED.ZERO_STAGE", stage)
    done = pretrain_here(films, tmp_path, *options)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path) == pytest.approx(losses(alone[0]), rel=1e-4)


@pytest.mark.slow
def test_the_deepspeed_launcher_starts_it(tmp_path, films, alone):
    offload = ("DEEPSPEED.CONFIG", ROOT / "configs/deepspeed/zero2_offload.json", "DEEPSPEED.ZERO_STAGE", 2)
    done = pretrain(DEEPSPEED, films, tmp_path, "TRAIN.BATCH_SIZE", 4, *offload)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path) == pytest.approx(losses(alone[0]), rel=1e-4)


@pytest.mark.slow
def test_compiled_and_checkpointed_it_is_the_same_run(tmp_path, films, alone):
    options = ("TRAIN.COMPILE", "true", "TRAIN.ACTIVATION_CHECKPOINTING", "true", "TRAIN.BATCH_SIZE", 4)
    done = pretrain_here(films, tmp_path, *options, "DEEPSPEED.ZERO_STAGE", 3)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path) == pytest.approx(losses(alone[0]), rel=1e-4)


@pytest.mark.slow
def test_mae_trains_in_the_same_loop(tmp_path, films):
    done = pretrain_here(films, tmp_path, "MODEL.OBJECTIVE", "mae", "MODEL.NORM_TARGET", "true")
    assert done.returncode == 0, done.stderr
    assert load_model(tmp_path).normalize_target


def test_a_run_starts_from_the_weights_of_another(tmp_path, films, alone):
    done = pretrain_here(films, tmp_path, f"--init={alone[0]}", "TRAIN.MAX_STEPS", 1, "TRAIN.BASE_LR", 0)
    assert done.returncode == 0, done.stderr
    assert f"starts from {alone[0]}: the encoder and the decoder" in done.stdout
    weights, expected = (load_file(folder / "model.safetensors") for folder in (tmp_path, alone[0]))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert str(alone[0]) == load_config(tmp_path / "config.yaml").MODEL.INIT


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["DATA.TRAIN", "nowhere.csv"], "nowhere.csv: cannot be read"),
        (["DATA.TRAIN", ""], "give a list or a folder"),
        (["TRAIN.PRECISION", "fp16"], "fp16"),
        (["DATA.SIZE", "36"], "36 is not a multiple"),
        (["MASK.RATIO", "1.0"], "leaves nothing visible"),
        (["MASK.KIND", "stripes"], "unknown mask 'stripes'"),
        (["MASK.MIX", "[box,stripes]"], "MASK.MIX stripes with a ratio of 0.1: unknown mask 'stripes'"),
        (["DEEPSPEED.ZERO_STAGE", "4"], "0 to 3"),
        (
            ["DEEPSPEED.CONFIG", ROOT / "configs/deepspeed/zero2.json"],
            "zero_optimization.stage is 2, and the",
        ),
        (["NO.KEY", "1"], "unknown config key NO.KEY"),
        (["--init=nowhere.pth"], "nowhere.pth: no such file"),
        (["--nonsense"], "unrecognized arguments"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 is refused on a CPU only")
def test_mistakes_are_one_line_and_exit_code_2(tmp_path, films, options, message):
    done = pretrain_here(films, tmp_path, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_dry_run_prints_what_it_would_do(tmp_path, films):
    done = pretrain_here(films, tmp_path / "none", "--dry-run", "TRAIN.BATCH_SIZE", 4)
    assert done.returncode == 0, done.stderr
    assert "0.2 M parameters" in done.stdout
    assert "4 steps of 4 videos = 8 clips, learning rate 0.002" in done.stdout
    assert "GiB" in done.stdout
    assert "about 0." in done.stdout
    assert not (tmp_path / "none").exists()
    (tmp_path / "list.csv").write_text("path\nnowhere.mp4\n")
    done = pretrain_here(films, tmp_path / "none", "--dry-run", "DATA.TRAIN", tmp_path / "list.csv")
    assert done.returncode == 2
    assert "1 of the first 1 files do not exist" in done.stderr


@pytest.mark.parametrize("tool", ["pretrain", "check_resume"])
def test_help_has_examples(tool):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / f"{tool}.py"), "--help"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert re.search(rf"python tools/{tool}\.py|diffmae {tool.replace('_', '-')}", done.stdout)
