"""What a film keeps of its source: colours, the aspect of pixels, and how long frames are shown."""

import numpy as np
import pytest

from diffmae_video.decoding import open_video
from diffmae_video.encoding.writers import open_film
from diffmae_video.errors import InputWarning
from tests.decoding.numbered import CASES, numbered
from tests.encoding.copies import copied


@pytest.mark.parametrize(("ending", "bits"), [(".mp4", 10), (".webm", 8)])
def test_colour_tags_and_10_bits_stay(tmp_path, ending, bits):
    copied("hlg.mp4", tmp_path / f"a{ending}")
    with open_video(tmp_path / f"a{ending}", "pyav") as video:
        assert video.colours == (9, 9, 18, 1, bits)


def test_a_gif_of_hdr_is_warned_of(tmp_path):
    with pytest.warns(InputWarning, match=r"\.gif cannot store the colour tags of HDR"):
        copied("hlg.mp4", tmp_path / "a.gif")


@pytest.mark.parametrize(("ending", "height"), [(".mp4", 96), (".webm", 100), (".gif", 99)])
def test_the_shape_of_pixels_stays_or_becomes_square(tmp_path, ending, height):
    copied("anamorph.mp4", tmp_path / f"a{ending}")
    with open_video(tmp_path / f"a{ending}", "pyav") as video:
        assert video.height == height
        assert float(video.aspect) * video.width / video.height == pytest.approx(176 / 96 * 32 / 33, rel=0.02)


@pytest.mark.parametrize("ending", [".mp4", ".webm", ".gif"])
def test_the_last_frame_of_a_variable_rate_is_shown_as_long_as_it_was(tmp_path, ending):
    times = np.array([0, 0.1, 0.2, 0.5, 0.6])

    class Source:
        num_frames, duration, aspect, icc = 5, 1.4, 1, None

    with open_video(CASES / "trimmed_head.mp4", "pyav") as video:
        Source.colours = video.colours
    with open_film(tmp_path / f"a{ending}", 5, times=times, like=Source()) as write:
        for i in range(5):
            write(numbered(i))
    with open_video(tmp_path / f"a{ending}", "pyav") as video:
        assert video.duration == pytest.approx(1.4, abs=0.01)
