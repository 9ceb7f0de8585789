"""RePaint on a Gaussian, where the chain is affine and what it should draw is known in closed form."""

import itertools
import math

import pytest
import torch

from diffmae_video import InputError
from diffmae_video.diffusion import NoiseSchedule
from diffmae_video.models.repaint import repaint_path, repaint_steps

SCHEDULE = NoiseSchedule("linear", 1.0)
MEAN = torch.tensor([0.5, -0.5], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)
SEEN = 1.5  # of the first of the two values
TRUTH = (-0.5 + 0.8 * (SEEN - 0.5), math.sqrt(1 - 0.8**2))  # mean and std of the second one, given that


def posterior_mean(abar):
    """E[x0 | xt] = gain @ xt + offset."""
    gain = math.sqrt(abar) * COVARIANCE @ torch.linalg.inv(abar * COVARIANCE + (1 - abar) * torch.eye(2))
    return gain, MEAN - math.sqrt(abar) * gain @ MEAN


def exact_x0(xt, t):
    gain, offset = posterior_mean(float(SCHEDULE.alphas_cumprod[t[0] - 1]))
    return (xt.double() @ gain.T + offset).float()


def fill(resamplings, count=4000, **options):
    known = torch.tensor([SEEN, torch.nan]).expand(count, 2)  # what is hidden is never read
    hidden = torch.tensor([False, True]).expand(count, 2)
    options |= {"resamplings": resamplings, "generator": torch.Generator().manual_seed(0)}
    return list(repaint_steps(exact_x0, known, hidden, SCHEDULE, 50, **options))


def moments(steps, jump, resamplings):
    """Mean and std of what the chain draws, by its recursion, with DDPM's posterior as published."""
    abar = [1.0, *SCHEDULE.alphas_cumprod.tolist()]
    levels = [abar[t] for t in (*SCHEDULE.sampling_timesteps(steps), 0)]
    mean, cov = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    unknown, known = torch.diag(torch.tensor([0.0, 1.0]).double()), torch.tensor([1.0, 0.0]).double()
    for here, there in itertools.pairwise(repaint_path(steps, jump, resamplings)):
        a, b = levels[here], levels[there]
        if there < here:
            mean, cov = math.sqrt(b / a) * mean, b / a * cov + (1 - b / a) * torch.eye(2)
            continue
        gain, offset = posterior_mean(a)
        beta = 1 - a / b  # of the step from there to here; Ho et al. 2020, equation 7
        on_x0, on_xt = math.sqrt(b) * beta / (1 - a), math.sqrt(a / b) * (1 - b) / (1 - a)
        step = on_x0 * gain + on_xt * torch.eye(2)
        mean, cov = (
            step @ mean + on_x0 * offset,
            step @ cov @ step.T + beta * (1 - b) / (1 - a) * torch.eye(2),
        )
        mean = unknown @ mean + math.sqrt(b) * SEEN * known
        cov = unknown @ cov @ unknown + (1 - b) * torch.outer(known, known)
    return float(mean[1]), float(cov[1, 1].sqrt())


@pytest.mark.parametrize(("jump", "resamplings"), [(10, 10), (10, 1), (3, 4)])
def test_it_is_its_closed_form_recursion(jump, resamplings):
    filled = fill(resamplings, jump=jump)[-1][1]
    assert torch.equal(filled[:, 0], torch.full((4000,), SEEN))
    mean, std = moments(50, jump, resamplings)
    assert abs(float(filled[:, 1].mean()) - mean) < 4 * std / math.sqrt(4000)
    assert abs(float(filled[:, 1].std()) / std - 1) < 4 / math.sqrt(2 * 4000)


def test_resampling_brings_it_to_the_conditional_distribution():
    errors = [abs(moments(50, 10, n)[0] - TRUTH[0]) for n in (1, 2, 10)]
    assert errors[0] > 0.3  # without going back it draws what hardly knows of the other value
    assert errors[0] > errors[1] > errors[2]
    mean, std = moments(50, 10, 10)
    assert abs(mean - TRUTH[0]) < 0.06
    assert abs(std / TRUTH[1] - 1) < 0.05


def test_the_path_goes_down_each_stretch_so_often():
    assert repaint_path(4, 2, 1) == [0, 1, 2, 3, 4]
    assert repaint_path(5, 2, 2) == [0, 1, 0, 1, 2, 3, 2, 1, 2, 3, 4, 5, 4, 3, 4, 5]
    for steps, jump, resamplings in ((7, 3, 4), (10, 10, 3), (3, 5, 2)):
        path = repaint_path(steps, jump, resamplings)
        moves = [b - a for a, b in itertools.pairwise(path)]
        assert set(moves) <= {1, -1}
        assert moves.count(1) == steps * resamplings
        assert (path[0], path[-1]) == (0, steps)


def test_each_timestep_is_yielded_once_and_keeps_the_known_part():
    steps = fill(2, count=4, jump=10)
    assert [t for t, _ in steps] == SCHEDULE.sampling_timesteps(50)
    assert all(x0.shape == (4, 2) and (x0[:, 0] == SEEN).all() for _, x0 in steps)


@pytest.mark.parametrize("options", [{"jump": 0}, {"resamplings": 0}])
def test_numbers_that_make_no_path(options):
    with pytest.raises(InputError, match="1 or more"):
        fill(**{"resamplings": 1, "count": 1, **options})
