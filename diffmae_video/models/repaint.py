"""RePaint (Lugmayr et al. 2022, arXiv 2201.09865): inpainting with a diffusion model that knows no mask.

The reverse process runs on the whole signal. After each step the known part is put back in, noised to
the step's own level; and the process goes some steps up again and comes down once more, several times,
so that the two parts come to agree.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from diffmae_video.diffusion import NoiseSchedule, PredictX0, Sample, reverse_step
from diffmae_video.errors import InputError


def repaint_path(steps: int, jump: int, resamplings: int) -> list[int]:
    """The places that the process visits, from 0 (pure noise) to ``steps`` (clean).

    Stretches of ``jump`` steps, the last of which ends at the clean signal, are each gone through
    ``resamplings`` times, with a way back in between. RePaint does not repeat the first stretch, after
    which there is next to nothing to agree on; here it is one like all others (our choice).

    Raises:
        InputError: an argument below 1.
    """
    if min(steps, jump, resamplings) < 1:
        raise InputError(f"steps, jump and resamplings are 1 or more, got {steps}, {jump} and {resamplings}")
    ends = sorted({*range(steps, 0, -jump)})
    path = [0]
    for end in ends:
        start = path[-1]
        for again in range(resamplings):
            if again:
                path += range(path[-1] - 1, start - 1, -1)
            path += range(start + 1, end + 1)
    return path


def repaint(
    predict_x0: PredictX0,
    known: Tensor,
    hidden: Tensor,
    schedule: NoiseSchedule,
    steps: int = 50,
    spacing: str = "angle",
    jump: int = 10,
    resamplings: int = 10,
    generator: torch.Generator | None = None,
    return_steps: bool = False,
) -> Tensor | Sample:
    """Draws what is hidden, given the rest.

    Args:
        predict_x0: ``(xt, t) -> x0`` of the whole signal, as in :func:`diffmae_video.diffusion.sample`.
        known: the signal [B, ...]; what stands in hidden places is never read.
        hidden: bool, of the same shape.
        steps, spacing: the timesteps, see :meth:`NoiseSchedule.sampling_timesteps`; steps are
            ancestral (DDPM).
        jump: steps that are gone back at once (RePaint: 10).
        resamplings: how often each stretch of steps is gone through (RePaint: 10); 1 never goes back.
        generator: of all noise.
        return_steps: keep the x0 prediction of each timestep, the last one that was made there.

    Returns:
        The signal in float32, its known part as it was; with ``return_steps`` a
        :class:`~diffmae_video.diffusion.Sample`.

    Raises:
        InputError: numbers below 1, or steps above T.
    """
    timesteps = schedule.sampling_timesteps(steps, spacing)
    abar = [1.0, *schedule.alphas_cumprod.tolist()]
    levels = [abar[t] for t in (*timesteps, 0)]
    known = torch.where(hidden, 0.0, known.float())

    def noise() -> Tensor:
        return torch.randn(known.shape, generator=generator, device=known.device)

    x = noise()
    kept: dict[int, Tensor] = {}
    path = repaint_path(steps, jump, resamplings)
    for here, there in itertools.pairwise(path):
        if there < here:  # up again, by q(x_t | x_s)
            share = levels[there] / levels[here]
            x = math.sqrt(share) * x + math.sqrt(1 - share) * noise()
            continue
        t = torch.full((len(x),), timesteps[here], dtype=torch.int64, device=x.device)
        x0 = predict_x0(x, t).float()
        if return_steps:
            kept[here] = torch.where(hidden, x0, known)
        level = levels[there]
        x = reverse_step(x, x0, levels[here], level, 1.0, generator)
        seen = known if level == 1 else math.sqrt(level) * known + math.sqrt(1 - level) * noise()
        x = torch.where(hidden, x, seen)
    if return_steps:
        return Sample(x, torch.stack([kept[i] for i in range(steps)]), timesteps)
    return x
