import torch

from diffmae_video.film.base_fill import base_fill

FRAMES = torch.arange(5.0)


def one_hole():
    known = torch.ones(5, 24, 24, dtype=torch.bool)
    known[2, 8:14, 8:14] = False
    return known


def test_a_still_texture_is_taken_from_other_times():
    texture = 255 * torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(0))
    pixels = texture.expand(5, -1, -1, -1).clone()
    pixels[2, :, 8:14, 8:14] = 0
    filled = base_fill(pixels, one_hole(), FRAMES, FRAMES)
    assert (filled - texture).abs().max() < 5


def test_a_flat_picture_that_changes_is_taken_from_around():
    pixels = torch.tensor([0.0, 200, 90, 250, 10]).view(5, 1, 1, 1).repeat(1, 3, 24, 24)
    pixels[2, :, 8:14, 8:14] = 0
    filled = base_fill(pixels, one_hole(), FRAMES, FRAMES)
    assert (filled[2] - 90).abs().max() < 5


def test_the_nearest_frames_count_most():
    known = torch.ones(5, 24, 24, dtype=torch.bool)
    known[1:4, 8:14, 8:14] = False
    texture = 255 * torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(0))
    pixels = texture + 10 * FRAMES.view(5, 1, 1, 1)
    filled = base_fill(pixels, known, FRAMES, FRAMES)
    assert (filled[1] - texture)[:, 10, 10].mean() < 5  # frame 0 has 0, frame 4 has 40
    assert (filled[3] - texture)[:, 10, 10].mean() > 35


def test_what_no_frame_knows_comes_from_around():
    pixels = torch.full((5, 3, 8, 8), 7.0)
    known = torch.ones(5, 8, 8, dtype=torch.bool)
    known[:, 2:6, 2:6] = False
    pixels[:, :, 2:6, 2:6] = 200
    assert torch.allclose(base_fill(pixels, known, FRAMES, FRAMES), torch.tensor(7.0), atol=1e-3)


def test_unknown_pixels_are_not_read():
    pixels = torch.rand(5, 3, 8, 8)
    known = torch.rand(5, 8, 8) > 0.5
    other = torch.where(known[:, None], pixels, torch.rand(5, 3, 8, 8))
    assert torch.equal(base_fill(pixels, known, FRAMES, FRAMES), base_fill(other, known, FRAMES, FRAMES))
