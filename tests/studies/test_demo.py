"""What the demo trains on and what it holds out."""

import numpy as np
import pytest

from diffmae_video import InputError, load_config
from diffmae_video.data import read_list
from diffmae_video.encoding.clips import write_video
from diffmae_video.studies.demo import LATER, UNSEEN, split_videos

CFG = load_config(None, ["DATA.NUM_FRAMES", 4, "DATA.STRIDE", 1, "DATA.SIZE", 32])


def film(path, count):
    write_video(path, np.stack([np.full((48, 64, 3), 5 * i, np.uint8) for i in range(count)]), 10)
    return path


def test_the_last_fifth_and_the_last_video_are_held_out(tmp_path):
    videos = [film(tmp_path / f"{name}.mp4", 20) for name in "abc"]
    parts = split_videos(videos, tmp_path / "copies", tmp_path / "lists", CFG)
    train = read_list(tmp_path / "lists/train.csv")
    assert [entry.path[-9:] for entry in train] == ["000-a.mp4", "001-b.mp4"]
    assert [(entry.start, entry.end) for entry in train] == [(0, 1.6)] * 2
    assert [(entry.path, entry.start, entry.end) for entry in parts[LATER]] == [
        (entry.path, 1.6, None) for entry in train
    ]
    assert [(entry.path[-9:], entry.start) for entry in parts[UNSEEN]] == [("002-c.mp4", 0)]
    assert read_list(tmp_path / "lists/same_videos_later.csv") == parts[LATER]
    assert read_list(tmp_path / "lists/unseen_video.csv") == parts[UNSEEN]


def test_a_single_video_is_split_in_time(tmp_path):
    parts = split_videos([film(tmp_path / "a.mp4", 20)], tmp_path / "copies", tmp_path / "lists", CFG)
    assert list(parts) == [LATER]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((15, 20), r"a.mp4: 15 frames are too few: a clip spans 4, and the last 20% is held out"),
        ((20, 3), r"b.mp4: has 3 frames, fewer than the 4 of a clip"),
    ],
)
def test_videos_that_are_too_short_are_refused(tmp_path, counts, message):
    videos = [film(tmp_path / f"{name}.mp4", count) for name, count in zip("ab", counts, strict=True)]
    with pytest.raises(InputError, match=message):
        split_videos(videos, tmp_path / "copies", tmp_path / "lists", CFG)
