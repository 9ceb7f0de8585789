"""Sound and subtitles that are carried over."""

import av
import pytest

from diffmae_video.errors import InputWarning
from tests.encoding.copies import copied

pytestmark = pytest.mark.filterwarnings("ignore:.*(its clock|begins between)")


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
