"""RePaint (Lugmayr et al. 2022, arXiv 2201.09865): inpainting with an unconditional diffusion model.

The reverse process runs on the whole signal. After each step the known part is put back, noised to the
level of that step. To make the two parts agree, the process repeatedly goes some steps back up and comes
down again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from diffmae_video.diffusion import NoiseSchedule, PredictX0, reverse_step
from diffmae_video.errors import InputError


def repaint_path(steps: int, jump: int, resamplings: int) -> list[int]:
    """The levels that the process visits, from 0 (pure noise) to ``steps`` (clean).

    Each stretch of ``jump`` steps is gone through ``resamplings`` times; the last stretch ends at the clean
    signal. RePaint does not repeat the first stretch; here all are treated alike (our choice).

    Raises:
        InputError: an argument below 1.
    """
    if min(steps, jump, resamplings) < 1:
        raise InputError(
            f"steps, jump and resamplings must be 1 or more, got {steps}, {jump} and {resamplings}"
        )
    ends = sorted({*range(steps, 0, -jump)})
    path = [0]
    for end in ends:
        start = path[-1]
        for again in range(resamplings):
            if again:
                path += range(path[-1] - 1, start - 1, -1)
            path += range(start + 1, end + 1)
    return path


def repaint_steps(
    predict_x0: PredictX0,
    known: Tensor,
    hidden: Tensor,
    schedule: NoiseSchedule,
    steps: int = 50,
    spacing: str = "angle",
    jump: int = 10,
    resamplings: int = 10,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Draws what is hidden, given the rest.

    Args:
        predict_x0: ``(xt, t) -> x0`` of the whole signal, as in :func:`diffmae_video.diffusion.sample`.
        known: the signal [B, ...]; hidden places are never read.
        hidden: bool, of the same shape.
        steps, spacing: the timesteps, see :meth:`NoiseSchedule.sampling_timesteps`; steps are
            ancestral (DDPM).
        jump: how many steps the process goes back at once (RePaint: 10).
        resamplings: how often each stretch of steps is gone through (RePaint: 10); 1 never goes back.
        generator: of all noise.

    Yields:
        Each timestep, T first, on the last visit to it, and the x0 predicted there, with the known part
        in place. The last x0 is the sample.

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
    moves = list(itertools.pairwise(repaint_path(steps, jump, resamplings)))
    last_visit = {here: i for i, (here, there) in enumerate(moves) if there > here}
    for i, (here, there) in enumerate(moves):
        if there < here:  # back up, by q(x_t | x_s)
            share = levels[there] / levels[here]
            x = math.sqrt(share) * x + math.sqrt(1 - share) * noise()
            continue
        t = torch.full((len(x),), timesteps[here], dtype=torch.int64, device=x.device)
        x0 = predict_x0(x, t).float()
        if last_visit[here] == i:
            yield timesteps[here], torch.where(hidden, x0, known)
        level = levels[there]
        x = reverse_step(x, x0, levels[here], level, 1.0, generator)
        seen = known if level == 1 else math.sqrt(level) * known + math.sqrt(1 - level) * noise()
        x = torch.where(hidden, x, seen)
