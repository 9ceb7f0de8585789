"""The schedule against its table and diffusers; the samplers against analytic Gaussians."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmae_video import InputError
from diffmae_video.diffusion import NoiseSchedule, Sample, sample, sample_steps

# abar of the linear schedule at t = 1, 10, 50, 100, 250, 500, 750, 1000, for three rho.
TABLE = {
    1.0: (0.9999, 0.998, 0.971, 0.897, 0.524, 0.0786, 3.4e-3, 4.0e-5),
    0.8: (0.9994, 0.990, 0.880, 0.660, 0.126, 8.0e-4, 3.9e-7, 1.7e-11),
    0.6: (0.996, 0.944, 0.571, 0.200, 1.1e-3, 1.4e-9, 1e-17, 9e-28),
}


@pytest.mark.parametrize("rho", TABLE)
def test_linear_schedule_is_the_table(rho):
    abar = NoiseSchedule("linear", rho).alphas_cumprod
    assert abar.dtype == torch.float64
    for t, expected in zip((1, 10, 50, 100, 250, 500, 750, 1000), TABLE[rho], strict=True):
        assert float(abar[t - 1]) == pytest.approx(
            expected, rel=0.05 if expected < 0.01 else 1e-3, abs=6e-4 * (expected > 0.01)
        )


@pytest.mark.parametrize(("kind", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2")])
def test_rho_1_is_diffusers_ddpm_schedule(kind, theirs):
    diffusers = pytest.importorskip("diffusers")
    abar = diffusers.DDPMScheduler(1000, beta_schedule=theirs).alphas_cumprod.double()
    ours = NoiseSchedule(kind, rho=1.0).alphas_cumprod
    # theirs is a float32 product of 1000 factors
    torch.testing.assert_close(ours, abar, rtol=2e-3, atol=2e-7)


def test_add_noise_is_the_forward_process():
    schedule = NoiseSchedule()
    x0, noise = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    t = torch.tensor([1, 400, 1000])
    xt = schedule.add_noise(x0, t, noise)
    for i, step in enumerate(t.tolist()):
        abar = float(schedule.alphas_cumprod[step - 1])
        torch.testing.assert_close(xt[i], math.sqrt(abar) * x0[i] + math.sqrt(1 - abar) * noise[i])


@settings(max_examples=150)
@given(
    st.sampled_from(["linear", "cosine"]),
    st.sampled_from([0.6, 0.8, 1.0]),
    st.sampled_from([1, 7, 100, 1000]),
    st.integers(1, 1000),
    st.sampled_from(["angle", "t"]),
)
def test_timesteps_fall_strictly_from_T(kind, rho, total, steps, spacing):
    steps = min(steps, total)
    got = NoiseSchedule(kind, rho, total).sampling_timesteps(steps, spacing)
    assert len(got) == steps
    assert got[0] == total
    assert got[-1] >= 1
    assert all(a > b for a, b in itertools.pairwise(got))


def test_all_steps_are_the_full_chain():
    for spacing in ("angle", "t"):
        assert NoiseSchedule().sampling_timesteps(1000, spacing) == list(range(1000, 0, -1))


def test_angle_spacing_is_even_in_the_angle():
    schedule = NoiseSchedule()
    angle = torch.arccos(schedule.alphas_cumprod.sqrt())
    got = torch.tensor(schedule.sampling_timesteps(10)) - 1
    expected = angle[-1] * torch.arange(10, 0, -1) / 10
    torch.testing.assert_close(angle[got], expected, atol=4e-3, rtol=0)


MEAN, STD = 0.3, 0.6


def gaussian_posterior(schedule):
    """The exact E[x0 | xt] of a Gaussian: what a perfect network would predict."""
    abar = schedule.alphas_cumprod

    def predict(xt, t):
        a = float(abar[int(t[0]) - 1])
        gain = math.sqrt(a) * STD**2 / (a * STD**2 + 1 - a)
        return (MEAN + gain * (xt.double() - math.sqrt(a) * MEAN)).float()

    return predict


def closed_form(schedule, timesteps, ddpm):
    """Mean and std of the affine chain, by its recursion in plain numbers."""
    abar = [1.0, *schedule.alphas_cumprod.tolist()]
    mean, var = 0.0, 1.0
    for t, s in zip(timesteps, [*timesteps[1:], 0], strict=True):
        a, b = abar[t], abar[s]
        gain = math.sqrt(a) * STD**2 / (a * STD**2 + 1 - a)
        shift = MEAN * (1 - gain * math.sqrt(a))
        if ddpm:
            beta = 1 - a / b
            kept, weight = math.sqrt(a / b) * (1 - b) / (1 - a), math.sqrt(b) * beta / (1 - a)
            fresh = beta * (1 - b) / (1 - a)
        else:
            kept = math.sqrt((1 - b) / (1 - a))
            weight, fresh = math.sqrt(b) - kept * math.sqrt(a), 0.0
        slope = kept + weight * gain
        mean, var = slope * mean + weight * shift, slope**2 * var + fresh
    return mean, math.sqrt(var)


@pytest.mark.parametrize("rho", [0.8, 1.0])
@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize(
    ("sampler", "steps", "tolerance"), [("ddpm", 1000, 0.03), ("ddim", 50, 0.04), ("dpm++", 10, 0.06)]
)
def test_samplers_reach_the_gaussian(sampler, steps, tolerance, kind, rho):
    if sampler == "dpm++":
        pytest.importorskip("diffusers")
    schedule = NoiseSchedule(kind, rho)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(40, 1000, generator=generator)
    x = sample(gaussian_posterior(schedule), noise, schedule, sampler, steps, generator=generator)
    assert float(x.mean()) == pytest.approx(MEAN, rel=tolerance)
    assert float(x.std()) == pytest.approx(STD, rel=tolerance)
    if sampler != "dpm++":
        mean, std = closed_form(schedule, schedule.sampling_timesteps(steps), sampler == "ddpm")
        # 40,000 draws: standard error of the mean 0.003, of the std 0.002
        assert float(x.mean()) == pytest.approx(mean, abs=0.012)
        assert float(x.std()) == pytest.approx(std, abs=0.009)


def test_few_steps_match_the_design_table():
    """DDIM's std over the truth's at 10 steps, rho 0.8: .87 in angle, .59 in t."""
    schedule = NoiseSchedule()
    for spacing, expected in (("angle", 0.87), ("t", 0.59)):
        _, std = closed_form(schedule, schedule.sampling_timesteps(10, spacing), ddpm=False)
        assert std / STD == pytest.approx(expected, abs=0.01)


def test_very_much_noise_stays_finite():
    pytest.importorskip("diffusers")
    for kind in ("linear", "cosine"):
        schedule = NoiseSchedule(kind, 0.4)  # abar_T is below what float32 can hold the inverse of
        noise = torch.randn(40, 1000, generator=torch.Generator().manual_seed(0))
        x = sample(gaussian_posterior(schedule), noise, schedule, "dpm++", 20)
        assert float(x.std()) == pytest.approx(STD, rel=0.06)


def test_timesteps_are_counted_from_1():
    for wrong in (0, 1001):
        with pytest.raises(InputError, match="from 1 to 1000"):
            NoiseSchedule().signal_and_noise(torch.tensor([5, wrong]))


def test_eta_1_is_ddpm():
    schedule = NoiseSchedule()
    noise = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    runs = [
        sample(
            gaussian_posterior(schedule),
            noise,
            schedule,
            name,
            20,
            eta=eta,
            generator=torch.Generator().manual_seed(2),
        )
        for name, eta in (("ddpm", 0.0), ("ddim", 1.0), ("ddim", 0.5))
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_return_steps_keeps_every_prediction():
    schedule = NoiseSchedule()
    seen = []

    def predict(xt, t):
        assert t.dtype == torch.int64
        assert t.shape == (2,)
        seen.append(int(t[0]))
        return torch.full_like(xt, float(t[0]))

    out = sample(predict, torch.randn(2, 3), schedule, "ddim", 7, return_steps=True)
    assert isinstance(out, Sample)
    assert out.timesteps == seen
    assert out.timesteps[0] == 1000
    assert out.steps[:, 0, 0].tolist() == [float(t) for t in seen]
    assert torch.equal(out.sample, out.steps[-1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampler": "euler"}, "unknown sampler 'euler'"),
        ({"steps": 0}, "from 1 to T = 1000, got 0"),
        ({"steps": 1001}, "from 1 to T = 1000, got 1001"),
        ({"spacing": "odd", "steps": 5}, "unknown spacing 'odd'"),
    ],
)
def test_impossible_sampling_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        sample(lambda x, t: x, torch.randn(1, 2), NoiseSchedule(), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "sigmoid"}, "unknown schedule 'sigmoid'"),
        ({"rho": 0.0}, "exponent above 0"),
        ({"timesteps": 0}, "at least one timestep"),
    ],
)
def test_impossible_schedules_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        NoiseSchedule(**arguments)


@pytest.mark.parametrize("steps", [1, 2, 9, 20])
@pytest.mark.parametrize(("sampler", "eta"), [("ddpm", 0.0), ("ddim", 0.0), ("ddim", 0.5), ("dpm++", 0.0)])
def test_the_process_step_by_step_is_the_sample(sampler, eta, steps):
    schedule, noise = NoiseSchedule(), torch.randn(2, 3, 4)

    def arguments():
        generator = torch.Generator().manual_seed(2)
        return gaussian_posterior(schedule), noise, schedule, sampler, steps, "angle", eta, generator

    whole = sample(*arguments(), return_steps=True)
    found = list(sample_steps(*arguments()))
    assert [t for t, _ in found] == whole.timesteps == schedule.sampling_timesteps(steps)
    assert torch.equal(torch.stack([x0 for _, x0 in found]), whole.steps)
    assert torch.equal(whole.sample, whole.steps[-1])
    assert torch.equal(whole.sample, sample(*arguments()))


@pytest.mark.parametrize("steps", [1, 2, 9, 20])
def test_the_solver_ends_at_its_last_prediction(steps):
    """diffusers' own loop: the step to no noise at all gives the x0 that it was told."""
    diffusers = pytest.importorskip("diffusers")
    schedule = NoiseSchedule()
    predict, x = gaussian_posterior(schedule), torch.randn(2, 3, 4)
    solver = diffusers.DPMSolverMultistepScheduler(
        trained_betas=schedule.betas.tolist(), prediction_type="sample", final_sigmas_type="zero"
    )
    solver.alphas_cumprod = schedule.alphas_cumprod.clamp_min(1e-30)
    timesteps = schedule.sampling_timesteps(steps)
    solver.set_timesteps(timesteps=[t - 1 for t in timesteps])
    ours = sample(predict, x, schedule, "dpm++", steps)
    for t in timesteps:
        x = solver.step(predict(x, torch.tensor([t])), t - 1, x).prev_sample
    torch.testing.assert_close(x, ours, rtol=1e-5, atol=1e-6)


def test_a_step_is_taken_when_it_is_asked_for():
    calls = []

    def predict(xt, t):
        calls.append(int(t[0]))
        return xt

    run = sample_steps(predict, torch.randn(1, 2), NoiseSchedule(), "ddim", 5)
    assert calls == []
    next(run)
    assert calls == [1000]
    with pytest.raises(InputError, match="unknown sampler"):
        sample_steps(predict, torch.randn(1, 2), NoiseSchedule(), "euler", 5)  # and not at the first step


# --- how training draws and weighs timesteps ---------------------------------------------------


def test_timesteps_are_drawn_uniformly_or_mostly_from_the_middle():
    uniform = NoiseSchedule().draw_timesteps((20000,), torch.Generator().manual_seed(0))
    torch.testing.assert_close(uniform.double().mean(), torch.tensor(500.5).double(), atol=10, rtol=0)
    normal = NoiseSchedule(draw="logit_normal").draw_timesteps((20000,), torch.Generator().manual_seed(0))
    for drawn in (uniform, normal):
        assert drawn.dtype == torch.int64
        assert int(drawn.min()) >= 1
        assert int(drawn.max()) <= 1000
    quartiles = torch.quantile(normal.double(), torch.tensor([0.25, 0.5, 0.75]).double()) / 1000
    expected = (torch.tensor([-0.6745, 0.0, 0.6745]).double()).sigmoid()  # of the normal distribution
    torch.testing.assert_close(quartiles, expected, atol=0.01, rtol=0)
    assert NoiseSchedule(timesteps=1, draw="logit_normal").draw_timesteps((5,)).tolist() == [1] * 5
    with pytest.raises(InputError, match="unknown draw of timesteps 'beta'; choose from uniform"):
        NoiseSchedule(draw="beta")


def test_loss_weights_follow_the_signal_to_noise_ratio():
    schedule = NoiseSchedule()
    ratio = schedule.alphas_cumprod / (1 - schedule.alphas_cumprod)
    assert torch.equal(schedule.loss_weights("x0"), torch.ones(1000).double())
    for kind, largest in (("v", torch.inf), ("min_snr", 5.0)):
        weights = schedule.loss_weights(kind)
        torch.testing.assert_close(weights.mean(), torch.tensor(1.0).double())
        torch.testing.assert_close(weights / weights[-1], (1 + ratio.clamp(max=largest)) / (1 + ratio[-1]))
    with pytest.raises(InputError, match="unknown loss weighting 'snr'; choose from x0, v, min_snr"):
        schedule.loss_weights("snr")
