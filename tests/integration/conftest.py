"""Films to train on that decode in no time."""

import numpy as np
import pytest

from diffmae_video.encoding.clips import write_video


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    """Six films of a square that drifts over noise."""
    folder, chance = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    for name in range(6):
        frames = chance.integers(0, 80, (16, 64, 64, 3), np.uint8)
        for i, frame in enumerate(frames):
            frame[name * 4 : name * 4 + 16, i : i + 16] = 40 * name + 50
        write_video(folder / f"{name}.mp4", frames, fps=12)
    return folder
