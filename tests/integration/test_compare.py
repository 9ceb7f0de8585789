"""tools/compare.py as users start it: a plan that is killed goes on, and ends the same."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Future

import pytest
from PIL import Image

from diffmae_video.cli import shortened
from tests.calls import diffmae
from tests.integration.runs import environment
from tests.repository import ROOT

PLAN = "COMPARE: {SYSTEMS: 'mae,diffmae', UNIT: pictures, BUDGET: 64, SEEDS: 1}\n"
SMALL = """
TRAIN: {MAX_STEPS: 4, BATCH_SIZE: 4, WARMUP_STEPS: 1, LOG_EVERY: 1, PRECISION: fp32}
DATA: {REPEATS: 2, WORKERS: 0}
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """A config whose recipes are those of the digits with four steps, and a few dozen of the digits."""
    folder = tmp_path_factory.mktemp("compare")
    (folder / "tiny.yaml").write_text(PLAN)
    (folder / "tiny").mkdir()
    for recipe in ("mae", "diffmae", "finetune", "finetune_few"):
        base = ROOT / f"configs/recognition/digits/{recipe}.yaml"
        (folder / f"tiny/{recipe}.yaml").write_text(f"_BASE_: {base}\n{SMALL}")
    subprocess.run(
        [sys.executable, ROOT / "datasets/digits.py", "--output", folder / "all"],
        check=True,
        capture_output=True,
        env=environment(),
    )
    for split in ("train", "val"):
        for label in range(10):
            source = sorted((folder / "all" / split / str(label)).iterdir())[:6]
            (folder / "data" / split / str(label)).mkdir(parents=True)
            for path in source:
                shutil.copy(path, folder / "data" / split / str(label))
    return folder


class JobsHere:
    """Stands in for the pool of processes, and does everything in this one."""

    _processes = None

    def __init__(self, *_, **__):
        pass

    def submit(self, function, job):
        done = Future()
        done.set_result(function(job))
        return done

    def shutdown(self, **_):
        pass


def options(plan, output):
    return ["--config", plan / "tiny.yaml", "--data", plan / "data", "--output", output, "--jobs", 1]


def start(plan, output):
    return subprocess.Popen(
        [str(x) for x in [sys.executable, ROOT / "tools/compare.py", *options(plan, output)]],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert "leaked" not in err, err  # semaphores, by runs' processes that were killed and not ended
    return json.loads(out.splitlines()[-1])


@pytest.mark.slow
def test_a_killed_comparison_continues_to_the_same_result(plan, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("diffmae_video.studies.parallel_jobs.ProcessPoolExecutor", JobsHere)
        done = diffmae("compare", *options(plan, tmp_path / "whole"))
    assert done.returncode == 0, done.stderr
    killed = start(plan, tmp_path / "killed")
    runs = tmp_path / "killed/runs/tiny/seed0"
    deadline = time.monotonic() + 240
    while not (runs / "finetune_few-mae").exists():  # pre-training is done, fine-tuning is not
        assert time.monotonic() < deadline
        assert killed.poll() is None
        time.sleep(0.2)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = {path: path.stat().st_mtime_ns for path in runs.glob("*/model.safetensors")}
    assert {path.parent.name for path in before} >= {"mae", "diffmae"}
    last = finish(start(plan, tmp_path / "killed"))
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in before.items())

    one, other = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "killed"))
    assert one["runs"] == other["runs"]
    assert one["probes"] == other["probes"]
    assert {(row["init"], row["labels"]) for row in one["runs"]} == {
        (init, labels) for init in ("scratch", "mae", "diffmae") for labels in ("few", "all")
    }
    assert {system: cost["pictures"] for system, cost in one["costs"].items()} == {"mae": 64, "diffmae": 64}
    shares = [row["top1"] for row in one["runs"] if row["init"] == "diffmae"]
    assert last["diffmae"]["few"] == shortened(shares[:1])
    assert len(list(csv.DictReader((tmp_path / "whole/table.csv").open()))) == 3 * 4
    assert (tmp_path / "whole/plot.png").stat().st_size > 10000
    assert "| DiffMAE |" in (tmp_path / "whole/table.md").read_text()
    page = (tmp_path / "whole/index.html").read_text()
    links = re.findall(r'src="(media/[^"]+)"', page)
    assert len(links) == 2 * 6 * 4  # masks, held-out samples; truth, input and two systems
    for link in links:
        with Image.open(tmp_path / "whole" / link) as picture:
            assert picture.size == (8, 8)
