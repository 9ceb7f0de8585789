"""tools/pretrain.py as users start it: python, torchrun, deepspeed; every ZeRO stage."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from diffmae_video import load_model
from tests.conftest import ROOT

TINY = [
    *("DATA.SIZE", "32", "DATA.NUM_FRAMES", "4", "DATA.STRIDE", "1", "DATA.WORKERS", "1"),
    *("MODEL.ENCODER.WIDTH", "64", "MODEL.ENCODER.DEPTH", "2", "MODEL.DECODER.WIDTH", "64"),
    *(
        "MODEL.DECODER.DEPTH",
        "1",
        "TRAIN.MAX_STEPS",
        "4",
        "TRAIN.WARMUP_STEPS",
        "1",
        "TRAIN.PRECISION",
        "fp32",
    ),
]


def pretrain(launcher, clips, output, *options):
    config = str(ROOT / "configs/demo/pretrain.yaml")
    command = [*launcher, str(ROOT / "tools/pretrain.py"), "--config", config, "--output", str(output)]
    command += ["DATA.TRAIN", str(clips), *TINY, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def losses(output):
    return [json.loads(line)["loss"] for line in (output / "metrics.jsonl").read_text().splitlines()]


PYTHON = [sys.executable]
BIN = Path(sys.executable).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29611"]
DEEPSPEED = [sys.executable, str(BIN / "deepspeed"), "--num_gpus", "1", "--master_port", "29612"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory, clips_dir):
    """One process on batches of two videos."""
    output = tmp_path_factory.mktemp("alone")
    done = pretrain(PYTHON, clips_dir, output, "TRAIN.BATCH_SIZE", "2")
    assert done.returncode == 0, done.stderr
    return output, done


@pytest.mark.slow
def test_a_run_leaves_a_whole_folder(alone):
    output, done = alone
    assert sorted(p.name for p in output.iterdir()) == [
        "config.json", "config.yaml", "metrics.jsonl", "model.safetensors",
    ]  # fmt: skip
    assert "learning rate" in done.stdout
    assert "4 steps of 2 videos = 8 clips" in done.stdout
    model = load_model(output)
    assert model.encoder.positions.kind == "sharp"
    assert all(v.dtype == torch.float32 for v in load_file(output / "model.safetensors").values())
    assert len(losses(output)) == 4
    again = pretrain(PYTHON, "nowhere", output)
    assert again.returncode == 2
    assert "holds a run already" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["0", "1", "2", "3"])
def test_zero_stages_give_the_same_run(tmp_path, clips_dir, alone, stage):
    output, _ = alone
    options = ["TRAIN.BATCH_SIZE", "2", "DEEPSPEED.ZERO_STAGE", stage]
    done = pretrain(PYTHON, clips_dir, tmp_path, *options)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path) == pytest.approx(losses(output), rel=1e-4)
    ours, theirs = load_file(tmp_path / "model.safetensors"), load_file(output / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], atol=2e-4, rtol=1e-3)


@pytest.mark.slow
def test_accumulation_reads_the_same_clips(tmp_path, clips_dir, alone):
    done = pretrain(PYTHON, clips_dir, tmp_path, "TRAIN.BATCH_SIZE", "1", "TRAIN.ACCUMULATION", "2")
    assert done.returncode == 0, done.stderr
    # The noise is drawn for each forward, so the losses are of other noise on the same clips.
    assert losses(tmp_path) == pytest.approx(losses(alone[0]), rel=0.2)


@pytest.mark.slow
def test_two_processes_share_the_batch(tmp_path, clips_dir, alone):
    done = pretrain(TORCHRUN, clips_dir, tmp_path, "TRAIN.BATCH_SIZE", "1")
    assert done.returncode == 0, done.stderr
    assert "fp32 on 2 x cpu; 4 steps of 2 videos = 8 clips" in done.stdout
    load_model(tmp_path)
    assert losses(tmp_path) == pytest.approx(losses(alone[0]), rel=0.35)


@pytest.mark.slow
def test_the_deepspeed_launcher_starts_it(tmp_path, clips_dir, alone):
    done = pretrain(DEEPSPEED, clips_dir, tmp_path, "TRAIN.BATCH_SIZE", "2")
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path) == pytest.approx(losses(alone[0]), rel=1e-4)


@pytest.mark.slow
def test_mae_trains_in_the_same_loop(tmp_path, clips_dir):
    done = pretrain(PYTHON, clips_dir, tmp_path, "MODEL.OBJECTIVE", "mae", "MODEL.NORM_TARGET", "true")
    assert done.returncode == 0, done.stderr
    assert load_model(tmp_path).normalize_target


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["DATA.TRAIN", "nowhere.csv"], "nowhere.csv: cannot read the list"),
        (["DATA.TRAIN", ""], "give a list or a folder"),
        (["TRAIN.PRECISION", "fp16"], "fp16"),
        (["DATA.SIZE", "36"], "36 is not a multiple"),
        (["MASK.RATIO", "1.0"], "leaves nothing visible"),
        (["MASK.KIND", "stripes"], "unknown mask 'stripes'"),
        (["DEEPSPEED.ZERO_STAGE", "4"], "0 to 3"),
        (["NO.KEY", "1"], "unknown config key NO.KEY"),
        (["--nonsense"], "unrecognized arguments"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 is refused on a CPU only")
def test_mistakes_are_one_line_and_exit_code_2(tmp_path, clips_dir, options, message):
    done = pretrain(PYTHON, clips_dir, tmp_path, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("tool", ["pretrain", "demo", "benchmark", "convert_weights"])
def test_help_has_examples(tool):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / f"{tool}.py"), "--help"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert f"python tools/{tool}.py" in done.stdout
