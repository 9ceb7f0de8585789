"""Written clips, read back."""

import av
import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video import InputError
from diffmae_video.data import open_video
from diffmae_video.encoding.clips import panels, to_frames, write_video


def moving(height=48, width=64, count=6):
    y, x = np.mgrid[:height, :width]
    waves = [
        np.stack([128 + 80 * np.sin((x + 3 * t) / 9 + c) * np.cos(y / 11) for c in range(3)], -1)
        for t in range(count)
    ]
    return np.stack(waves).astype(np.uint8)


@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_mp4_comes_back(tmp_path, size):
    frames = moving(*size)
    write_video(tmp_path / "a.mp4", frames, 6.0)
    with open_video(tmp_path / "a.mp4") as video:
        assert (video.num_frames, video.fps) == (6, 6.0)
        back = video.frames(range(6))[:, : size[0], : size[1]]
    assert np.abs(back.astype(int) - frames).mean() < 4


def test_frames_may_come_one_after_another(tmp_path):
    frames = moving()
    write_video(tmp_path / "a.mp4", frames, 6.0)
    write_video(tmp_path / "b.mp4", iter(frames), 6.0)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_colours_are_said(tmp_path):
    """A player takes a large picture whose file does not say it for BT.709's, and shows other greens."""
    write_video(tmp_path / "a.mp4", moving(), 6.0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert context.colorspace == av.video.reformatter.Colorspace.ITU601
        assert context.color_range == av.video.reformatter.ColorRange.MPEG


def test_gif_and_png_come_back(tmp_path):
    frames = moving()
    write_video(tmp_path / "a.gif", frames, 10)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 6
        assert gif.info["duration"] == 100
        assert gif.info["loop"] == 0
        assert np.abs(np.asarray(gif.convert("RGB")).astype(int) - frames[0]).mean() < 6
    write_video(tmp_path / "a.png", frames[:1], 1)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), frames[0])


def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r"cannot write \.xyz; use \.mp4"):
        write_video(tmp_path / "a.xyz", moving(), 5)
    with pytest.raises(InputError, match="a PNG holds one frame"):
        write_video(tmp_path / "a.png", moving(), 5)
    assert list(tmp_path.iterdir()) == []


def test_panels_stand_side_by_side_with_their_own_pixels():
    clip = torch.rand(3, 4, 8, 12)
    canvas = panels([clip, 1 - clip], ["one", "two"], height=16)
    assert canvas.shape == (4, 20 + 16, 24 + 6 + 24, 3)
    assert np.array_equal(canvas[:, 20::2, :24:2], to_frames(clip))
    assert np.array_equal(canvas[:, 20::2, 30::2], to_frames(1 - clip))
    assert canvas[0, :20, :24].min() < 128  # the title is there
