"""Diffusion on patches: the noise schedule, the forward process and the samplers.

Timesteps run from 1 (nearly clean) to T (nearly pure noise); t = 0 is the clean signal, with
``abar = 1``. All samplers work on predictions of x0, so they never divide by ``sqrt(abar_t)``, which is
4e-6 at t = T.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffmae_video.errors import InputError, require
from diffmae_video.float32_tables import Float32Tables

SCHEDULES = ("linear", "cosine")
SAMPLERS = ("ddpm", "ddim", "dpm++")
SPACINGS = ("angle", "t")
TIMESTEP_DRAWS = ("uniform", "logit_normal")
WEIGHTINGS = ("x0", "v", "min_snr")
LARGEST_SNR = 5.0  # that counts in the weighting min_snr (Hang et al. 2023, arXiv 2303.09556)

PredictX0 = Callable[[Tensor, Tensor], Tensor]


class NoiseSchedule(Float32Tables):
    """The variance schedule.

    Its float64 tables stay on the CPU, for samplers; float32 tables on the model's device serve training.

    Args:
        kind: ``linear``, beta from 1e-4 to 0.02 (Ho et al. 2020), or ``cosine`` (Nichol &
            Dhariwal 2021, s = 0.008, beta at most 0.999).
        rho: exponent, ``beta_t -> beta_t ** rho``; below 1 adds more noise (DiffMAE: 0.8).
        timesteps: T.
        draw: how training draws timesteps: ``uniform``, or ``logit_normal``, T times the logistic function of
            a standard normal number, which favours the middle (Esser et al. 2024, arXiv 2403.03206).

    Attributes:
        betas, alphas_cumprod: float64 [T]; index 0 is t = 1.

    Raises:
        InputError: an unknown kind or draw, rho not above 0, or fewer than one timestep.
    """

    def __init__(
        self, kind: str = "linear", rho: float = 0.8, timesteps: int = 1000, draw: str = "uniform"
    ) -> None:
        super().__init__()
        if timesteps < 1:
            raise InputError(f"a schedule needs at least one timestep, got {timesteps}")
        if not 0 < rho < math.inf:
            raise InputError(f"rho is an exponent above 0, got {rho}")
        if kind == "linear":
            betas = torch.linspace(1e-4, 0.02, timesteps, dtype=torch.float64)
        elif kind == "cosine":
            s = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
            f = torch.cos((s + 0.008) / 1.008 * math.pi / 2) ** 2
            betas = (1 - f[1:] / f[:-1]).clamp(max=0.999)
        else:
            raise InputError(f"unknown schedule {kind!r}; choose from {', '.join(SCHEDULES)}")
        if draw not in TIMESTEP_DRAWS:
            raise InputError(f"unknown draw of timesteps {draw!r}; choose from {', '.join(TIMESTEP_DRAWS)}")
        self.kind, self.rho, self.timesteps, self.draw = kind, rho, timesteps, draw
        self.betas = betas**rho
        self.alphas_cumprod = torch.cumprod(1 - self.betas, dim=0)
        self.signal: Tensor
        self.sigma: Tensor
        self.add_table("signal", self.alphas_cumprod.sqrt())
        self.add_table("sigma", (1 - self.alphas_cumprod).sqrt())

    def draw_timesteps(
        self,
        size: Sequence[int],
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Timesteps for training: int64 in 1..T, of shape ``size``."""
        if self.draw == "uniform":
            return torch.randint(1, self.timesteps + 1, tuple(size), generator=generator, device=device)
        place = torch.randn(tuple(size), generator=generator, device=device).sigmoid()
        return (1 + (self.timesteps * place).long()).clamp(max=self.timesteps)

    def loss_weights(self, kind: str) -> Tensor:
        """What a squared error of x0 counts at each timestep: float64 [T], with a mean of 1.

        Args:
            kind: ``x0``, 1 at all timesteps (DiffMAE); ``v``, 1 + SNR, which makes it the error of v
                (Salimans and Ho 2022); ``min_snr``, 1 + min(SNR, 5). Hang et al. (2023) leave out the 1,
                without which pure noise, the task of a masked autoencoder, would count nothing.

        Raises:
            InputError: an unknown kind.
        """
        ratio = self.alphas_cumprod / (1 - self.alphas_cumprod)  # SNR
        if kind == "x0":
            weights = torch.ones_like(ratio)
        elif kind == "v":
            weights = 1 + ratio
        elif kind == "min_snr":
            weights = 1 + ratio.clamp(max=LARGEST_SNR)
        else:
            raise InputError(f"unknown loss weighting {kind!r}; choose from {', '.join(WEIGHTINGS)}")
        return weights / weights.mean()

    def signal_and_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """``sqrt(abar_t)`` and ``sqrt(1 - abar_t)`` for t, int64 in 1..T; float32, of t's shape.

        Raises:
            InputError: a timestep outside 1..T. Checked on a CPU only, as the check would stall a GPU, and
                not in compiled code.
        """
        is_checked = t.device.type == "cpu" and not torch.compiler.is_compiling()
        if is_checked and bool(((t < 1) | (t > self.timesteps)).any()):
            raise InputError(f"timesteps range from 1 to {self.timesteps}, got {t.tolist()}")
        return self.signal[t - 1], self.sigma[t - 1]

    def add_noise(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """``xt = sqrt(abar_t) x0 + sqrt(1 - abar_t) noise``, in float32.

        Shapes: x0 and noise [B, ...]; t [B], or [B, M] with x0 [B, M, ...].
        """
        signal, sigma = (
            values.view(*t.shape, *[1] * (x0.ndim - t.ndim)) for values in self.signal_and_noise(t)
        )
        return torch.addcmul(signal * x0.float(), sigma, noise)

    def x0_of(self, xt: Tensor, t: Tensor, noise: Tensor, bounds: tuple[Tensor, Tensor]) -> Tensor:
        """The x0 from which ``add_noise`` makes xt [B, ...], clamped to bounds that broadcast to it.

        The clamp limits errors in ``noise``, which the division by sqrt(abar_t) amplifies: at t = T it is
        4e-6.
        """
        signal, sigma = (
            values.view(*t.shape, *[1] * (xt.ndim - t.ndim)) for values in self.signal_and_noise(t)
        )
        return ((xt.float() - sigma * noise) / signal).clamp(*bounds)

    def sampling_timesteps(self, steps: int, spacing: str = "angle") -> list[int]:
        """``steps`` strictly decreasing timesteps that start at T.

        ``angle`` spaces them evenly in ``arccos(sqrt(abar_t))`` between T and the clean signal, which is
        left out; ``t`` spaces them evenly in t. Each is rounded to the nearest timestep, and to the next
        free one if that is taken. The spacing by angle is our choice: with rho 0.8 most timesteps are
        nearly pure noise, and steps spaced evenly in t are wasted there.

        Raises:
            InputError: steps outside 1..T, or an unknown spacing.
        """
        if not 1 <= steps <= self.timesteps:
            raise InputError(f"steps must be from 1 to T = {self.timesteps}, got {steps}")
        even = torch.arange(steps, 0, -1, dtype=torch.float64) / steps
        if spacing == "angle":
            angles = torch.arccos(self.alphas_cumprod.sqrt())  # increases with t
            targets = even * angles[-1]
            above = torch.searchsorted(angles, targets).clamp(1, max(1, self.timesteps - 1))
            above = above.clamp(max=self.timesteps - 1)
            below = (above - 1).clamp(min=0)
            nearest = torch.where(targets - angles[below] <= angles[above] - targets, below, above) + 1
            nearest[0] = self.timesteps  # many angles near T are equal in float64
        elif spacing == "t":
            nearest = (even * self.timesteps).round().long()
        else:
            raise InputError(f"unknown spacing {spacing!r}; choose from {', '.join(SPACINGS)}")
        timesteps: list[int] = []
        for i, t in enumerate(nearest.tolist()):
            t = max(t, steps - i)  # leave room for the remaining steps
            timesteps.append(min(t, timesteps[-1] - 1) if timesteps else t)
        return timesteps


class Sample(NamedTuple):
    """The result of :func:`sample` with ``return_steps``."""

    sample: Tensor  # the x0 of the last step, of the noise's shape
    steps: Tensor  # the x0 prediction of every step [S, ...], starting with t = T
    timesteps: list[int]  # the S timesteps


def sample(
    predict_x0: PredictX0,
    noise: Tensor,
    schedule: NoiseSchedule,
    sampler: str = "ddpm",
    steps: int = 1000,
    spacing: str = "angle",
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    return_steps: bool = False,
) -> Tensor | Sample:
    """Runs the reverse process from pure noise.

    Args:
        predict_x0: ``(xt, t) -> x0``, with xt of the noise's shape and t int64 [B] in 1..T.
        noise: x_T [B, ...], standard normal.
        sampler: ``ddpm``, ancestral with the posterior's variance (Ho et al. 2020); ``ddim`` (Song
            et al. 2021); ``dpm++``, second-order multistep DPM-Solver++ (Lu et al. 2022, through
            diffusers).
        steps: 1 to T.
        spacing: see :meth:`NoiseSchedule.sampling_timesteps`.
        eta: share of fresh noise in ``ddim``; 0 is deterministic.
        generator: draws the fresh noise of ``ddpm``, and of ``ddim`` with eta above 0.
        return_steps: also return the x0 prediction of every step.

    Returns:
        The sample, of the noise's shape, in float32; with ``return_steps`` a :class:`Sample`.

    Raises:
        InputError: an unknown sampler or spacing, or steps outside 1..T.
        MissingExtraError: ``dpm++`` without diffusers installed.
    """
    run = sample_steps(predict_x0, noise, schedule, sampler, steps, spacing, eta, generator)
    timesteps, kept = [], []
    for t, x0 in run:
        timesteps.append(t)
        if return_steps:
            kept.append(x0)
    return Sample(x0, torch.stack(kept), timesteps) if return_steps else x0


def sample_steps(
    predict_x0: PredictX0,
    noise: Tensor,
    schedule: NoiseSchedule,
    sampler: str = "ddpm",
    steps: int = 1000,
    spacing: str = "angle",
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """The process of :func:`sample` step by step: yields each t and the x0 predicted there, from t = T.

    The last x0 is the sample, since the last step of every sampler, to t = 0, returns the prediction.
    Arguments and errors are those of :func:`sample`.
    """
    if sampler not in SAMPLERS:
        raise InputError(f"unknown sampler {sampler!r}; choose from {', '.join(SAMPLERS)}")
    timesteps = schedule.sampling_timesteps(steps, spacing)

    def predict(xt: Tensor, t: int) -> Tensor:
        return predict_x0(xt, torch.full((len(xt),), t, dtype=torch.int64, device=xt.device)).float()

    if sampler == "dpm++":
        return _dpm_solver(predict, noise.float(), schedule, timesteps)
    eta = 1.0 if sampler == "ddpm" else eta
    return _ancestral(predict, noise.float(), schedule, timesteps, eta, generator)


def _ancestral(
    predict: Callable[[Tensor, int], Tensor],
    x: Tensor,
    schedule: NoiseSchedule,
    timesteps: list[int],
    eta: float,
    generator: torch.Generator | None,
) -> Iterator[tuple[int, Tensor]]:
    abar = [1.0, *schedule.alphas_cumprod.tolist()]
    for t, s in zip(timesteps, [*timesteps[1:], 0], strict=True):
        x0 = predict(x, t)
        yield t, x0
        x = reverse_step(x, x0, abar[t], abar[s], eta, generator)


def reverse_step(
    x: Tensor, x0: Tensor, abar_t: float, abar_s: float, eta: float, generator: torch.Generator | None
) -> Tensor:
    """One step of DDIM from timestep t down to s, with a share ``eta`` of fresh noise.

    With eta = 1 it is a step of DDPM, expressed by the noise in x_t: it has the mean and variance of the
    posterior q(x_s | x_t, x0) (DDIM, section 4.1). With ``abar_s = 1`` it returns x0.
    """
    if abar_s == 1:
        return x0
    sigma2 = eta**2 * (1 - abar_s) / (1 - abar_t) * (1 - abar_t / abar_s)
    # sqrt(1 - abar_s - sigma2) * eps with eps = (x - sqrt(abar_t) x0) / sqrt(1 - abar_t)
    c = math.sqrt(max(0.0, 1 - abar_s - sigma2) / (1 - abar_t))
    x = c * x + (math.sqrt(abar_s) - c * math.sqrt(abar_t)) * x0
    if sigma2 > 0:
        x = x + math.sqrt(sigma2) * torch.randn(x.shape, generator=generator, device=x.device)
    return x


def _dpm_solver(
    predict: Callable[[Tensor, int], Tensor], x: Tensor, schedule: NoiseSchedule, timesteps: list[int]
) -> Iterator[tuple[int, Tensor]]:
    solver = require("diffusers", "samplers").DPMSolverMultistepScheduler(
        num_train_timesteps=schedule.timesteps,
        trained_betas=schedule.betas.tolist(),
        prediction_type="sample",
        algorithm_type="dpmsolver++",
        final_sigmas_type="zero",
    )
    # diffusers computes abar in float32 and squares 1 / sqrt(abar), which must not overflow.
    solver.alphas_cumprod = schedule.alphas_cumprod.clamp_min(1e-30)
    solver.set_timesteps(timesteps=[t - 1 for t in timesteps], device=x.device)  # counted from 0
    for t in timesteps:
        x0 = predict(x, t)
        yield t, x0
        x = solver.step(x0, t - 1, x).prev_sample
