"""Overlapping windows of one stretch of film, sampled jointly: their predictions are blended at every step.

At every step each clip predicts x0 of its hidden patches; where clips overlap, a weighted mean is taken,
and one x_t of the whole stretch goes on to the next step. Clips therefore cannot drift apart
(MultiDiffusion, Bar-Tal et al. 2023; over time and with these weights our choice).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffmae_video.film.windows import WindowBatch, hat
from diffmae_video.models import PretrainingModel
from diffmae_video.tokens import gather_tokens, patchify, unpatchify

OnStep = Callable[[Tensor], None]


class SharedPredictions(NamedTuple):
    """What the clips of a stretch predict for the k frames that the next stretch shares."""

    weight: Tensor  # of the predictions, [k, H, W]
    places: Tensor  # the K places in the flattened frames where the weight is above 0, int64 [K]
    totals: list[Tensor]  # the weighted sum of each step at these places, float16 [3, K]


class BlendedWindows:
    """The clips of one stretch, encoded once.

    Consecutive stretches act as one, with one exception: clips of the earlier stretch do not see what the
    later one predicts for shared frames. Their own predictions are kept and enter its averages.

    Args:
        model: a model that predicts masked patches, in evaluation mode.
        canvas: the stretch, float [3, n, H, W], normalised, on the model's device; hidden pixels are
            never read.
        batches: the clips, see :func:`~diffmae_video.film.windows.make_batches`.
        before: the previous stretch's predictions for the first frames.
        shared: the first frame that the next stretch contains too; predictions from there on are kept.

    Attributes:
        weight: of all predictions of a pixel, [n, H, W]; 0 where there is none.
        predictions_ahead: for the shared frames, after :meth:`sample`.

    Raises:
        InputError: see :meth:`~diffmae_video.models.base.PretrainingModel.predictor`.
    """

    @torch.no_grad()
    def __init__(
        self,
        model: PretrainingModel,
        canvas: Tensor,
        batches: Sequence[WindowBatch],
        before: SharedPredictions | None = None,
        shared: int | None = None,
    ) -> None:
        self.model, self.shape, self.before = model, canvas.shape, before
        self.shared = canvas.shape[1] if shared is None else shared
        self.batches = [WindowBatch(batch.windows, batch.mask.to(canvas.device)) for batch in batches]
        t, h, w = self.clip_size = model.clip_size
        self.hat = (hat(t)[:, None, None] * hat(h)[:, None] * hat(w)).to(canvas.device)
        self.predictors = [model.predictor(self._clips(canvas, batch), batch.mask) for batch in self.batches]
        self.weight = torch.zeros(self.shape[1:], device=canvas.device)
        for batch in self.batches:
            masked_pixels = batch.mask.to_pixels(model.patch)[:, 0]  # [B, T, h, w]
            for part, masked in zip(self._parts(self.weight, batch), masked_pixels, strict=True):
                part += self.hat * masked
        if before is not None:
            self.weight[: len(before.weight)] += before.weight
        ahead = self.weight[self.shared :]
        # Found once: looking for them in every step would make each one wait for the device.
        places = ahead.flatten().nonzero().flatten()
        self.predictions_ahead = SharedPredictions(ahead, places, [])

    @torch.no_grad()
    def sample(
        self,
        noise: Tensor,
        sampler: str = "ddim",
        steps: int = 50,
        generator: torch.Generator | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Fills the stretch.

        Args:
            noise: x_T of the stretch, standard normal, [3, n, H, W].
            sampler, steps, generator: see :meth:`~diffmae_video.models.base.PretrainingModel.reverse_steps`.
            on_step: is called with every step's x0, [3, n, H, W].

        Returns:
            The fill [3, n, H, W], normalised; meaningful where ``weight`` is above 0.
        """
        run = self.model.reverse_steps(self._predict_x0, noise[None], sampler, steps, generator=generator)
        for _, x0 in run:
            if on_step:
                on_step(x0[0])
        return x0[0]

    def _predict_x0(self, xt: Tensor, t: Tensor) -> Tensor:
        """The weighted mean of all clips' predictions: [1, 3, n, H, W]; 0 where there is none."""
        total = torch.zeros(self.shape, device=self.weight.device)
        for batch, predict in zip(self.batches, self.predictors, strict=True):
            mask = batch.mask
            noised = gather_tokens(patchify(self._clips(xt[0], batch), self.model.patch), mask.masked)
            patches = predict(noised, t.expand(len(noised)))  # [B, M, P]
            size = (len(batch.windows), mask.visible.shape[1] + patches.shape[1], patches.shape[2])
            whole = torch.zeros(size, device=patches.device)
            whole.scatter_(1, mask.masked[..., None].expand_as(patches), patches)
            fills = unpatchify(whole, mask.grid, self.model.patch)
            for part, fill in zip(self._parts(total, batch), fills, strict=True):
                part += self.hat * fill
        ahead, pixels = self.predictions_ahead, total.view(3, -1)
        if self.before is not None:  # its frames are this stretch's first ones
            earlier = self.before.totals[len(ahead.totals)].to(total.dtype)
            pixels.index_add_(1, self.before.places, earlier)
        first = self.shared * self.weight[0].numel()
        ahead.totals.append(pixels.index_select(1, ahead.places + first).half())
        return (total / self.weight.clamp_min(1e-12))[None]

    def _parts(self, stretch: Tensor, batch: WindowBatch) -> list[Tensor]:
        """Views of the clips' places in a stretch [..., n, H, W]: [..., T, h, w] each."""
        (t, h, w), (_, p, q) = self.clip_size, self.model.patch
        return [
            stretch[..., f : f + t, row * p : row * p + h, column * q : column * q + w]
            for f, row, column in batch.windows
        ]

    def _clips(self, stretch: Tensor, batch: WindowBatch) -> Tensor:
        return torch.stack(self._parts(stretch, batch))
