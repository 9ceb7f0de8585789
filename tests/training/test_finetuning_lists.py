"""The lists of a fine-tuning run, and what is held out of them."""

import pytest

from diffmae_video import InputError, load_config
from diffmae_video.data import read_list
from diffmae_video.training.finetuning_lists import (
    read_finetuning_lists,
    write_held_out_lists,
)


@pytest.fixture
def videos(tmp_path):
    """Three files of class a and two of class b in a list, of which nobody reads the contents."""
    lines = []
    for name in ("a0", "a1", "a2", "b0", "b1"):
        (tmp_path / f"{name}.mp4").touch()
        lines.append(f"{name}.mp4,{name[0]}\n")
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(lines))
    return tmp_path / "list.csv"


def test_what_is_held_out_is_said_and_written(videos, tmp_path):
    cfg = load_config(None, ["DATA.TRAIN", videos, "FINETUNE.HOLD_OUT", 0.1])
    lists = read_finetuning_lists(cfg)
    assert (len(lists.train), len(lists.val), lists.is_held_out) == (3, 2, True)
    assert str(lists).startswith("3 videos to train on, 2 videos held out for validation (to choose them")
    assert not list(tmp_path.glob("run/*"))  # reading writes nothing
    named = write_held_out_lists(cfg, lists, tmp_path / "run", is_main=True)
    assert named.FINETUNE.HOLD_OUT == 0
    assert read_list(named.DATA.TRAIN) == lists.train
    assert read_list(named.DATA.VAL) == lists.val
    with pytest.raises(InputError, match=r"train\.csv would be overwritten by a part of itself"):
        write_held_out_lists(named, lists, tmp_path / "run", is_main=True)


def test_lists_that_are_given_stay_as_they_are(videos):
    cfg = load_config(None, ["DATA.TRAIN", videos, "DATA.VAL", videos, "FINETUNE.HOLD_OUT", 0.5])
    lists = read_finetuning_lists(cfg)
    assert (len(lists.train), len(lists.val), lists.is_held_out) == (5, 5, False)
    assert str(lists) == "5 videos to train on, 5 videos to validate on"
    lists = read_finetuning_lists(load_config(None, ["DATA.TRAIN", videos, "FINETUNE.HOLD_OUT", 0]))
    assert str(lists) == "5 videos to train on, none to validate on"


def test_single_videos_cannot_be_held_out(videos):
    videos.write_text("path,label\na0.mp4,a\nb0.mp4,b\n")
    with pytest.raises(InputError, match=r"no class has two videos, .* set FINETUNE\.HOLD_OUT 0$"):
        read_finetuning_lists(load_config(None, ["DATA.TRAIN", videos, "FINETUNE.HOLD_OUT", 0.5]))
