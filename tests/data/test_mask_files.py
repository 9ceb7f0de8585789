"""Masks from pictures and films."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video import InputError, Mask
from diffmae_video.data.mask_files import is_mask_film, read_mask, read_mask_picture
from diffmae_video.encoding.clips import write_video


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P", "RGBA"])
def test_a_picture_masks_all_frames_alike(tmp_path, mode):
    drawn = np.zeros((20, 30), np.uint8)
    drawn[5:12, 10:30] = 255
    picture = Image.fromarray(drawn).convert("RGB" if mode == "RGBA" else mode)
    if mode == "RGBA":  # painted where it is opaque, in any colour
        picture.putalpha(Image.fromarray(drawn))
    picture.save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png", 3, 20, 30)
    assert torch.equal(mask, torch.from_numpy(drawn > 0).expand(3, -1, -1))
    large = read_mask(tmp_path / "mask.png", 2, 40, 60)
    assert torch.equal(large[:, ::2, ::2], mask[:2])
    assert Mask.from_pixels(large, (1, 5, 6), (2, 8, 10)).grid == (1, 5, 6)


def test_a_film_masks_each_frame_by_itself(tmp_path):
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    for t in range(4):
        frames[t, :, 8 * t : 8 * t + 8] = 255
    write_video(tmp_path / "mask.mp4", frames, 5)
    mask = read_mask(tmp_path / "mask.mp4", 6, 32, 32)
    assert torch.equal(mask[:4], torch.from_numpy(frames[..., 0] > 0))
    assert torch.equal(mask[4:], mask[3:4].expand(2, -1, -1))


def test_what_is_no_mask_is_named(tmp_path):
    (tmp_path / "mask.png").write_text("text")
    for name in ("mask.png", "none.png", "none.mp4"):
        with pytest.raises(InputError, match=name):
            read_mask(tmp_path / name, 2, 8, 8)


def test_pictures_as_editors_and_cameras_save_them(tmp_path):
    """With an alpha channel that hides nothing, with 16 bits, and turned by a tag: as a plain one."""
    drawn = np.zeros((20, 30), np.uint8)
    drawn[5:12, 10:30] = 255
    plain = Image.fromarray(drawn)
    opaque = plain.convert("RGBA")
    opaque.save(tmp_path / "opaque.png")
    deep = np.where(drawn > 0, 40000, 2000).astype(np.uint16)  # 2,000 of 65,535 is nearly black
    Image.fromarray(deep).save(tmp_path / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, with the clock
    plain.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(np.stack([drawn, 0 * drawn, 0 * drawn], -1)).save(tmp_path / "red.png")
    for name in ("opaque", "deep", "turned", "red"):
        assert np.array_equal(read_mask_picture(tmp_path / f"{name}.png"), drawn > 0), name


def test_an_animated_gif_masks_each_frame_by_itself(tmp_path):
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    for t in range(4):
        frames[t, :, 8 * t : 8 * t + 8] = 255
    write_video(tmp_path / "mask.gif", frames, 10)
    assert is_mask_film(tmp_path / "mask.gif")
    assert torch.equal(read_mask(tmp_path / "mask.gif", 4, 32, 32), torch.from_numpy(frames[..., 0] > 0))
    Image.fromarray(frames[1]).save(tmp_path / "still.gif")
    assert not is_mask_film(tmp_path / "still.gif")
    assert torch.equal(
        read_mask(tmp_path / "still.gif", 1, 32, 32)[0], torch.from_numpy(frames[1, ..., 0] > 0)
    )
