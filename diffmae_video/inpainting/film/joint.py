"""Overlapping clips of a stretch of film, filled as one.

At every step of the sampling each clip predicts x0 of its hidden patches, the predictions are averaged
where clips overlap, and the one x_t of the whole stretch goes a step on, so that clips cannot drift apart
(MultiDiffusion, Bar-Tal et al. 2023; over time and with these weights our choice).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffmae_video.diffusion import sample
from diffmae_video.inpainting.film.windows import WindowBatch, hat
from diffmae_video.models import MAE, DiffMAE, MaskedAutoencoder
from diffmae_video.tokens import gather_tokens, patchify, unpatchify

OnStep = Callable[[Tensor], None]


class Carried(NamedTuple):
    """What the clips of a stretch predict of the frames that the next one shares.

    Attributes:
        weight: of the predictions, [k, H, W].
        totals: of each step, their weighted sum where the weight is above 0, float16 [3, K].
    """

    weight: Tensor
    totals: list[Tensor]


class JointFill:
    """The clips of one stretch, encoded once.

    Stretches that follow each other are one, but that clips of the earlier one do not see what the later
    one makes of the frames that both have: their predictions are kept and count in its averages.

    Args:
        model: a DiffMAE or an MAE, in evaluation mode.
        canvas: the stretch, float [3, n, H, W], normalised, on the model's device; what is hidden is
            never read.
        batches: the clips, see :func:`~diffmae_video.inpainting.film.windows.make_batches`.
        before: what the stretch before predicts of the first frames.
        shared: the first frame that the next stretch has too, whose predictions are kept.

    Attributes:
        weight: of all predictions of a pixel, [n, H, W]; 0 where there is none.
        carried: of the shared frames, after :meth:`sample`.
    """

    @torch.no_grad()
    def __init__(
        self,
        model: MaskedAutoencoder,
        canvas: Tensor,
        batches: Sequence[WindowBatch],
        before: Carried | None = None,
        shared: int | None = None,
    ) -> None:
        self.model, self.shape, self.before = model, canvas.shape, before
        self.shared = canvas.shape[1] if shared is None else shared
        self.batches = [WindowBatch(batch.windows, batch.mask.to(canvas.device)) for batch in batches]
        t, h, w = (n * side for n, side in zip(model.encoder.grid, model.patch, strict=True))
        self.clip_size = (t, h, w)
        self.hat = (hat(t)[:, None, None] * hat(h)[:, None] * hat(w)).to(canvas.device)
        self.contexts: list[Any] = []
        for batch in self.batches:
            latents: Any = model.encode_latents(self._clips(canvas, batch), batch.mask)  # type: ignore[operator]
            self.contexts.append(
                model.decoder.context(latents) if isinstance(model, DiffMAE) else latents  # of an MAE
            )
        self.weight = torch.zeros(self.shape[1:], device=canvas.device)
        for batch in self.batches:
            for part, masked in zip(
                self._parts(self.weight, batch), batch.mask.to_pixels(model.patch)[:, 0], strict=True
            ):
                part += self.hat * masked
        if before is not None:
            self.weight[: len(before.weight)] += before.weight
        self.carried = Carried(self.weight[self.shared :], [])

    def _average(self, predict: Callable[[WindowBatch, Any], Tensor]) -> Tensor:
        """The next step's weighted mean [3, n, H, W] of all predictions [B, M, P]; 0 where there is none."""
        total = torch.zeros(self.shape, device=self.weight.device)
        for batch, context in zip(self.batches, self.contexts, strict=True):
            patches = predict(batch, context)
            size = (len(batch.windows), batch.mask.visible.shape[1] + patches.shape[1], patches.shape[2])
            whole = torch.zeros(size, device=patches.device)
            whole.scatter_(1, batch.mask.masked[..., None].expand_as(patches), patches)
            fills = unpatchify(whole, batch.mask.grid, self.model.patch)
            for part, fill in zip(self._parts(total, batch), fills, strict=True):
                part += self.hat * fill
        if self.before is not None:
            weight = self.before.weight
            total[:, : len(weight)][:, weight > 0] += self.before.totals[len(self.carried.totals)]
        self.carried.totals.append(total[:, self.shared :][:, self.carried.weight > 0].half())
        return total / self.weight.clamp_min(1e-12)

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
            noise: x_T of the stretch, standard normal, [3, n, H, W]; an MAE does not read it.
            sampler, steps, generator: see :func:`diffmae_video.diffusion.sample`; an MAE has one pass.
            on_step: is called with every step's x0, [3, n, H, W].

        Returns:
            The fill [3, n, H, W], normalised; of use where ``weight`` is above 0.
        """
        model = self.model
        if isinstance(model, MAE):
            fill = self._average(lambda batch, latents: model.decoder(latents, batch.mask))
            if on_step:
                on_step(fill)
            return fill
        assert isinstance(model, DiffMAE)

        def predict(xt: Tensor, t: Tensor) -> Tensor:
            def of_clips(batch: WindowBatch, context: Any) -> Tensor:
                patches = gather_tokens(
                    patchify(self._clips(xt[0], batch), self.model.patch), batch.mask.masked
                )
                return model.predict_x0(patches, t.expand(len(patches)), context, batch.mask)

            x0 = self._average(of_clips)
            if on_step:
                on_step(x0)
            return x0[None]

        result = sample(predict, noise[None], model.schedule, sampler, steps, generator=generator)
        assert isinstance(result, Tensor)
        return result[0]

    def _parts(self, stretch: Tensor, batch: WindowBatch) -> list[Tensor]:
        """Views of the clips' places in a stretch [..., n, H, W]: [..., T, h, w] each."""
        (t, h, w), (_, p, q) = self.clip_size, self.model.patch
        return [
            stretch[..., f : f + t, row * p : row * p + h, column * q : column * q + w]
            for f, row, column in batch.windows
        ]

    def _clips(self, stretch: Tensor, batch: WindowBatch) -> Tensor:
        return torch.stack(self._parts(stretch, batch))
