"""The error of a model's x0 predictions, apart for each timestep."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from diffmae_video.data import normalise
from diffmae_video.inpainting.examples import Source
from diffmae_video.masks import Mask
from diffmae_video.models import PretrainingModel
from diffmae_video.randomness import random_state

TIMESTEPS = 20  # points of the curve


class LossCurve(NamedTuple):
    """The mean squared error of x0 in normalised pixels, which is DiffMAE's training loss."""

    timesteps: list[int]  # ascending, from 1 to T
    losses: list[float]  # at these timesteps
    mae: float | None  # of MAE's prediction for the same masks; None without an MAE


@torch.no_grad()
def loss_by_timestep(
    model: PretrainingModel, mae: PretrainingModel | None, sources: Sequence[Source], seed: int = 0
) -> LossCurve:
    """Measures the loss on sources at timesteps from 1 to T, with masks of the model's own kind.

    Pictures count only if there is no video. MAE is measured on the same masks, if it was trained on pixels
    that were normalised in the same way.

    Args:
        model: a model that fills masked clips by sampling.
        mae: an MAE for the same clips and patches, or None.
        sources: what to measure it on.
        seed: seeds masks and noise.
    """
    assert model.schedule is not None
    assert model.mask is not None
    device = next(model.parameters()).device
    count = min(TIMESTEPS, model.schedule.timesteps)
    timesteps = sorted({1, *model.schedule.sampling_timesteps(count, "t")})
    measured = [source for source in sources if not source.is_picture] or sources
    is_comparable = mae is not None and (mae.mean, mae.std) == (model.mean, model.std)
    losses = torch.zeros(len(measured), len(timesteps))
    mae_losses = torch.zeros(len(measured))
    for i, source in enumerate(measured):
        state = random_state(seed, i)
        clip = normalise(source.clip[None].to(device), model.mean, model.std)
        mask = Mask.draw(batch=1, grid=model.grid, generator=state, **model.mask).to(device)
        x0 = model.masked_patches(clip, mask)  # [1, M, P]
        noise = torch.randn(x0.shape, generator=state).to(device)
        predict_x0 = model.predictor(clip, mask)
        for j, timestep in enumerate(timesteps):
            t = torch.tensor([timestep], device=device)
            prediction = predict_x0(model.schedule.add_noise(x0, t, noise), t)
            losses[i, j] = (prediction - x0).square().mean()
        if mae is not None and is_comparable:
            mae_losses[i] = mae(clip, mask).loss
    return LossCurve(timesteps, losses.mean(0).tolist(), float(mae_losses.mean()) if is_comparable else None)
