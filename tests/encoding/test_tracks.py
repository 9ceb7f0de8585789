"""Sound and subtitles that are carried over, and the colours that a film keeps."""

import av
import numpy as np
import pytest

from diffmae_video.decoding import open_video
from diffmae_video.encoding.writers import open_film
from diffmae_video.errors import InputWarning
from tests.decoding.numbered import CASES, numbered

pytestmark = pytest.mark.filterwarnings("ignore:.*(its clock|begins between)")


def copied(name, target):
    """Writes all frames of a case anew with its sound."""
    with open_video(CASES / name, "pyav") as video:
        with open_film(target, video.fps, times=video.times, sound=CASES / name, like=video) as write:
            for frame in video.frames(range(video.num_frames)):
                write(frame)
        return video.duration


def starts(path):
    """Seconds at which each stream begins and the last packet of sound ends."""
    with av.open(str(path)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        begins = [float(s.start_time * s.time_base) for s in (video, sound)]
        packets = [p for p in container.demux(sound) if p.size]
        return *begins, float((packets[-1].pts + packets[-1].duration) * packets[-1].time_base)


def test_languages_default_track_and_subtitles_stay(tmp_path):
    copied("tracks.mp4", tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        kinds = [stream.type for stream in container.streams]
        assert kinds == ["video", "audio", "audio", "subtitle"]
        sound = container.streams.audio
        assert [s.metadata["language"] for s in sound] == ["eng", "deu"]
        assert [bool(s.disposition & av.stream.Disposition.default) for s in sound] == [False, True]


def test_each_track_that_does_not_fit_is_named(tmp_path):
    with pytest.warns(InputWarning) as caught:
        copied("tracks.mp4", tmp_path / "a.webm")
    assert [str(w.message) for w in caught] == [
        "the sound (aac, eng) is left out: .webm cannot hold it",
        "the sound (aac, deu) is left out: .webm cannot hold it",
        "the subtitle track (mov_text) is left out: .webm cannot hold it",
    ]


@pytest.mark.parametrize("name", ["cat_same_clock_sound.ts", "cat_three.ts"])
def test_sound_follows_a_clock_that_breaks(tmp_path, name):
    duration = copied(name, tmp_path / "a.mp4")
    pictures, sound, end = starts(tmp_path / "a.mp4")
    assert pictures == 0
    assert sound == pytest.approx(0, abs=0.03)
    assert end == pytest.approx(duration, abs=0.05)


def test_sound_before_the_first_picture_is_kept_in_step(tmp_path):
    copied("starts_between_keys.ts", tmp_path / "a.mp4")
    pictures, sound, _ = starts(tmp_path / "a.mp4")
    assert sound == pytest.approx(0, abs=0.001)
    assert pictures == pytest.approx(2.28 - 1.758644, abs=0.002)


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
