"""Curves and pictures, read back by TensorBoard itself."""

import os
import signal

import numpy as np
import pytest
from PIL import Image

from diffmae_video.training.curves import Curves


def read_back(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    return events.Reload()


def curve(events, tag):
    return [(point.step, pytest.approx(point.value)) for point in events.Scalars(tag)]


def test_curves_and_pictures_come_back(tmp_path):
    curves = Curves(tmp_path)
    rows = [{"step": s, "loss": 1 / s, "lr": 1e-3, "grad_norm": None, "batch": ["a"]} for s in (1, 2, 3)]
    curves.add_steps(rows)
    curves.add_validation(3, {"loss": 0.5, "loss_t0": 0.25, "knn": 0.75})
    picture = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    curves.add_picture(3, picture)
    events = read_back(tmp_path)  # before close: a killed run has it too
    assert sorted(events.Tags()["scalars"]) == [
        *("train/loss", "train/lr", "validation/knn", "validation/loss", "validation/loss_t0"),
    ]
    assert curve(events, "train/loss") == [(1, 1), (2, 1 / 2), (3, 1 / 3)]
    assert curve(events, "validation/loss_t0") == [(3, 0.25)]
    (shown,) = events.Images("validation/inpainting")
    (tmp_path / "shown.png").write_bytes(shown.encoded_image_string)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "shown.png")), picture)
    curves.close()


def test_a_killed_run_has_lost_nothing_that_was_handed_over(tmp_path):
    child = os.fork()
    if child == 0:
        Curves(tmp_path).add_steps([{"step": s, "loss": 1.0} for s in range(1, 1001)])
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert len(curve(read_back(tmp_path), "train/loss")) == 1000


@pytest.mark.parametrize("resumed_at", [4, None])  # None: killed before its first checkpoint
def test_a_resumed_run_replaces_the_steps_after_its_checkpoint(tmp_path, resumed_at):
    first = Curves(tmp_path)
    first.add_steps([{"step": s, "loss": 1.0} for s in range(1, 8)])
    first.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    with file.open("r+b") as events:  # killed in the middle of a write
        events.truncate(file.stat().st_size - 3)
    # The order of files is by the second in their names.
    file.rename(file.with_name(file.name.replace("tfevents.", "tfevents.0")))
    second, done = Curves(tmp_path, resumed_at), resumed_at or 0
    second.add_steps([{"step": s, "loss": 2.0} for s in range(done + 1, 7)])
    second.close()
    expected = [(s, 1 if s <= done else 2) for s in range(1, 7)]
    assert curve(read_back(tmp_path), "train/loss") == expected
