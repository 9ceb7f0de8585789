"""RePaint on a Gaussian, whose conditional distribution is known in closed form."""

import math

import pytest
import torch

from diffmae_video import InputError
from diffmae_video.diffusion import NoiseSchedule
from diffmae_video.repaint import repaint, repaint_path

MEAN = torch.tensor([0.5, -0.5])
COVARIANCE = torch.tensor([[1.0, 0.8], [0.8, 1.0]])
SEEN = 1.5  # of the first of the two values


def exact_x0(schedule):
    """E[x0 | xt] of the Gaussian."""

    def predict(xt, t):
        signal, sigma = (x[0] for x in schedule.signal_and_noise(t[:1]))
        gain = signal * COVARIANCE @ torch.linalg.inv(signal**2 * COVARIANCE + sigma**2 * torch.eye(2))
        return MEAN + (xt - signal * MEAN) @ gain.T

    return predict


def fill(resamplings, count=20000, **options):
    schedule = NoiseSchedule("linear", 1.0)
    known = torch.tensor([SEEN, torch.nan]).expand(count, 2)  # what is hidden is never read
    hidden = torch.tensor([False, True]).expand(count, 2)
    generator = torch.Generator().manual_seed(0)
    return repaint(
        exact_x0(schedule),
        known,
        hidden,
        schedule,
        50,
        resamplings=resamplings,
        generator=generator,
        **options,
    )


def test_many_resamplings_draw_from_the_conditional_distribution():
    filled = fill(20, jump=1)
    assert torch.equal(filled[:, 0], torch.full((20000,), SEEN))
    mean = MEAN[1] + 0.8 * (SEEN - MEAN[0])
    std = math.sqrt(1 - 0.8**2)
    assert abs(filled[:, 1].mean() - mean) < 0.06
    assert abs(filled[:, 1].std() / std - 1) < 0.12


def test_without_resampling_the_two_parts_agree_less():
    mean = float(MEAN[1] + 0.8 * (SEEN - MEAN[0]))
    errors = [abs(float(fill(n, jump=5)[:, 1].mean()) - mean) for n in (1, 3, 10)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[0] > 0.1


def test_the_path_goes_down_each_stretch_so_often():
    assert repaint_path(4, 2, 1) == [0, 1, 2, 3, 4]
    assert repaint_path(5, 2, 2) == [0, 1, 0, 1, 2, 3, 2, 1, 2, 3, 4, 5, 4, 3, 4, 5]
    for steps, jump, resamplings in ((7, 3, 4), (10, 10, 3), (3, 5, 2)):
        path = repaint_path(steps, jump, resamplings)
        moves = [b - a for a, b in zip(path, path[1:], strict=False)]
        assert set(moves) <= {1, -1}
        assert moves.count(1) == steps * resamplings
        assert (path[0], path[-1]) == (0, steps)


def test_steps_are_kept_and_start_at_t():
    result = fill(2, count=4, jump=10, return_steps=True)
    assert result.steps.shape == (50, 4, 2)
    assert result.timesteps[0] == 1000
    assert (result.steps[..., 0] == SEEN).all()
    assert torch.equal(result.steps[-1], result.sample)


@pytest.mark.parametrize("options", [{"jump": 0}, {"resamplings": 0}])
def test_numbers_that_make_no_path(options):
    with pytest.raises(InputError, match="1 or more"):
        fill(**{"resamplings": 1, "count": 1, **options})
