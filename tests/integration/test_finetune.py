"""tools/finetune.py as users start it, on a pre-trained folder and labelled films."""

import os
import shutil
import subprocess
import sys
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file

from diffmae_video import load_config, load_model
from diffmae_video.data import read_list
from diffmae_video.runtime.processes import free_port
from diffmae_video.training.checkpoints import Checkpoints
from diffmae_video.training.finetune import finetune as train
from diffmae_video.training.recognition_validation import RecognitionValidation
from tests.calls import diffmae
from tests.integration.runs import environment, losses, rows
from tests.repository import ROOT
from tests.tiny_models import tiny_diffmae

TINY = [
    *("DATA.SIZE", 32, "DATA.NUM_FRAMES", 4, "DATA.STRIDE", 1, "DATA.WORKERS", 1, "TRAIN.BATCH_SIZE", 4),
    *("TRAIN.ACCUMULATION", 1, "TRAIN.WARMUP_EPOCHS", 0, "TRAIN.PRECISION", "fp32", "TRAIN.LOG_EVERY", 1),
    *("VALIDATION.EVERY_STEPS", 2, "FINETUNE.HOLD_OUT", 0.34),
]


CONFIG = ("--config", ROOT / "configs/finetune/own_videos.yaml")


def finetune_here(*options):
    """The command, in this process."""
    return diffmae("finetune", *CONFIG, *TINY, *options)


def finetune(*options, ranks=1):
    launcher = [sys.executable]
    if ranks > 1:
        port = ["--master_port", str(free_port())]
        launcher += ["-m", "torch.distributed.run", "--nproc_per_node", str(ranks), *port]
    command = [*launcher, ROOT / "tools/finetune.py", *CONFIG, *TINY, *options]
    return subprocess.run(
        [str(x) for x in command], capture_output=True, text=True, timeout=300, env=environment()
    )


@pytest.fixture(scope="module")
def by_class(tmp_path_factory, films):
    """The films as a folder per class, three of each."""
    folder = tmp_path_factory.mktemp("classes")
    for i, film in enumerate(sorted(films.iterdir())):
        (folder / ("dark" if i < 3 else "bright")).mkdir(exist_ok=True)
        shutil.copy(film, folder / ("dark" if i < 3 else "bright"))
    return folder


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    torch.manual_seed(0)
    tiny_diffmae().save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_an_own_set_in_one_command(tmp_path, by_class, pretrained):
    options = ("--init", pretrained, "DATA.TRAIN", by_class, "TRAIN.EMA", 0.9, "FINETUNE.FREEZE", 1)
    done = finetune("--output", tmp_path / "run", *options, "TRAIN.MAX_STEPS", 4)
    assert done.returncode == 0, done.stderr
    assert "2 classes; 4 videos to train on, 2 videos held out" in done.stdout
    assert "checkpoints: every 1000 steps, every 2 minutes, after the last step" in done.stdout
    run = tmp_path / "run"
    held_out = read_list(run / "val.csv")
    assert sorted(entry.label for entry in held_out) == ["bright", "dark"]
    assert not {e.path for e in held_out} & {e.path for e in read_list(run / "train.csv")}
    assert str(run / "val.csv") == load_config(run / "config.yaml").DATA.VAL
    figures = rows(run, "validation.jsonl")
    assert [row["step"] for row in figures] == [2, 4]
    assert figures[0].keys() == {"step", "loss", "top1", "ema_loss", "ema_top1"}
    best = min(figures, key=lambda row: (-row["top1"], row["loss"]))["step"]
    *_, last, best_one = done.stdout.splitlines()
    assert last == f"the last step's model is in {run}"
    assert best_one.startswith(f"best in validation: step {best}, top-1 ")
    assert best_one.endswith(f"%, in {run / 'best'}")
    assert f"| metric | step {best}, the" in (run / "best/README.md").read_text()
    model, last = load_model(run / "best"), load_model(run)
    assert model.classes == last.classes == ["bright", "dark"]
    kept = load_file(run / f"checkpoints/step_{best:08d}/model.safetensors")
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    start = load_model(pretrained).encoder.state_dict()
    for name, value in last.encoder.state_dict().items():
        is_frozen = name.startswith(("patch_embed", "blocks.0"))
        assert torch.equal(value, start[name]) == is_frozen, name
    assert finetune_here("--output", run, "--resume", *options, "TRAIN.MAX_STEPS", 6).returncode == 0
    assert [row["step"] for row in rows(run)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_two_processes_at_stage_3_are_one_at_stage_0(tmp_path, by_class, pretrained):
    """Whole batches are the same; mixing and drop path are drawn by process, so they are off."""
    plain = ("FINETUNE.MIXUP", 0, "FINETUNE.CUTMIX", 0, "FINETUNE.DROP_PATH", 0, "FINETUNE.FREEZE", 1)
    options = ("--init", pretrained, "DATA.TRAIN", by_class, "TRAIN.MAX_STEPS", 4, *plain)
    one = finetune_here("--output", tmp_path / "one", *options)
    assert one.returncode == 0, one.stderr
    split = ("TRAIN.BATCH_SIZE", 2, "DEEPSPEED.ZERO_STAGE", 3)
    two = finetune("--output", tmp_path / "two", *options, *split, ranks=2)
    assert two.returncode == 0, two.stderr
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=0.2)
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=2e-3, rtol=2e-2, msg=name)
    first, second = (rows(tmp_path / name, "validation.jsonl")[-1] for name in ("one", "two"))
    assert second["loss"] == pytest.approx(first["loss"], rel=1e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "DATA.TRAIN: give a list or a folder of videos"),
        (("DATA.TRAIN", "{films}"), "has no label"),
        (("DATA.TRAIN", "{by_class}", "--init", "nowhere"), "nowhere"),
        (("DATA.TRAIN", "{by_class}", "FINETUNE.CLASS_WEIGHTS", "none.yaml"), "none.yaml"),
        (("DATA.TRAIN", "{by_class}", "FINETUNE.POOL", "token"), "no class token to pool by"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, films, by_class, options, message):
    filled = [x.format(films=films, by_class=by_class) for x in options]
    done = finetune_here(
        "--output", tmp_path / "run", *filled, "MODEL.ENCODER.WIDTH", 32, "MODEL.ENCODER.DEPTH", 1
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("fails", [False, True])
def test_the_best_model_is_one_that_is_on_disk(tmp_path, by_class, monkeypatch, fails):
    """Step 2 measures best; where its checkpoint cannot be written, the next best one is copied."""
    costs = iter([0.1, 0.5])
    monkeypatch.setattr(RecognitionValidation, "cost", lambda *_: next(costs))
    publish = Checkpoints._publish

    def full_disk(self, aside, state):
        if fails and state.step == 2:
            raise OSError("no space left")
        publish(self, aside, state)

    monkeypatch.setattr(Checkpoints, "_publish", full_disk)
    options = [*TINY, "DATA.TRAIN", by_class, "TRAIN.MAX_STEPS", 4, "DATA.WORKERS", 0]
    small = ["MODEL.PATCH", "2,8,8", "MODEL.ENCODER.WIDTH", 32, "MODEL.ENCODER.DEPTH", 1]
    small += ["MODEL.ENCODER.HEADS", 2]
    with patch.dict(os.environ):
        train(load_config(ROOT / "configs/finetune/own_videos.yaml", options + small), tmp_path)
    best = 4 if fails else 2
    step = tmp_path / f"checkpoints/step_{best:08d}/model.safetensors"
    assert (tmp_path / "best/model.safetensors").read_bytes() == step.read_bytes()


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(tmp_path, by_class, pretrained, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = ["--config", str(ROOT / "configs/finetune/own_videos.yaml"), "--init", str(pretrained)]
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/finetune.py"), *config, "--dry-run", "DATA.TRAIN", str(by_class)],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("not part of the encoder") == 1
    taken, model, clips, lists, plan, duration = done.stdout.splitlines()
    assert taken.startswith(
        f"taken from {pretrained}, since it is not set: DATA.NUM_FRAMES 4, DATA.SIZE [32, 32]"
    )
    assert f"M parameters, on {pretrained}, " in model
    assert clips == "clips of 4 frames of 32 x 32 pixels, stride 4"
    assert lists.startswith("2 classes; 4 videos to train on, 2 videos held out for validation")
    assert plan.startswith("8 steps of 16 draws from 4 videos")
    assert "warning: the run is too short to learn much (steps: 8); set TRAIN.MAX_STEPS" in done.stderr
    assert duration.startswith("about ")
    assert not list(tmp_path.iterdir())
