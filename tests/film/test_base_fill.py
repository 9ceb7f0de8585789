import torch

from diffmae_video.film.base_fill import base_fill

FRAMES = torch.arange(5.0)


def test_a_pixel_is_taken_from_the_nearest_frames_that_know_it():
    pixels = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 4, 4) * 10
    known = torch.ones(5, 4, 4, dtype=torch.bool)
    known[2, 1, 1] = known[1:4, 2, 2] = False
    filled = base_fill(pixels, known, FRAMES, FRAMES)
    assert abs(filled[2, 0, 1, 1] - 20) < 0.1  # between 10 and 30
    assert abs(filled[1, 0, 2, 2] - 1) < 1.5  # frame 0 is nearer than frame 4
    assert abs(filled[3, 0, 2, 2] - 39) < 1.5


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
