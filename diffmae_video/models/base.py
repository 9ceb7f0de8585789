"""The contract between a pre-training objective and the rest of the package.

Training, validation, inpainting, the pages, cost and benchmarks know :class:`PretrainingModel` and no
objective by name. docs/extending.md shows how to add one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from diffmae_video.diffusion import NoiseSchedule, PredictX0, sample_steps
from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.models.activations import Activations
from diffmae_video.models.backbone import Backbone
from diffmae_video.models.pixels import PixelNormalisation
from diffmae_video.models.pretrained import Pretrained, load_model
from diffmae_video.runtime.eval_mode import evaluating
from diffmae_video.tokens import Triple, gather_tokens, grid_of, patchify, unpatchify


class Output(NamedTuple):
    """The result of a training forward."""

    loss: Tensor  # scalar, float32
    # float32; a masked autoencoder predicts the masked patches [B, M, P], or with decoded K of them [B,
    # K, P]; other models document their own shape
    prediction: Tensor
    mask: Mask | None = None  # the mask that was drawn or given; None for a model without masks
    decoded: Tensor | None = None  # int64 [B, K], the masked tokens that were decoded; None if all were


class Inpainting(NamedTuple):
    """The result of ``inpaint`` and ``sample``."""

    clip: Tensor  # the clip with its masked patches filled in; visible pixels are copied bit by bit
    steps: Tensor | None  # the x0 prediction of each step, pasted into the clip, [S, B, 3, T, H, W]; or None
    timesteps: list[int]  # the S timesteps, T first; [0] for a model that predicts in one pass


class PretrainingModel(nn.Module, Pretrained, ABC):
    """A model with a pre-training objective around a backbone.

    A subclass implements :meth:`objective` and declares what that reads: ``mask``, ``schedule`` and
    :meth:`noise_shape`. The data loader, the training loss and :meth:`forward` draw exactly that.

    Args:
        encoder: the backbone that is trained.
        mean, std: of the normalisation that clips have gone through, on pixels in [0, 1].
    """

    encoder: Backbone
    # kind and ratio of the masks that the objective reads; None if it reads none
    mask: dict[str, Any] | None = None
    # the noise schedule, for an objective that reads timesteps; None otherwise
    schedule: NoiseSchedule | None
    token_timesteps: bool = False  # whether every masked patch has a timestep of its own, and not every clip
    generates: ClassVar[bool] = False  # whether sample makes clips out of nothing
    # whether objective also takes clips as they were decoded, uint8, and normalises the patches that it
    # reads. forward normalises such clips for other models.
    reads_raw_pixels: ClassVar[bool] = False
    prefers_average: ClassVar[bool] = True

    def __init__(self, encoder: Backbone, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.encoder = encoder
        self.mean, self.std = tuple(mean), tuple(std)
        self.normalisation = PixelNormalisation(mean, std)
        self.schedule = None  # set here, since a module's class attribute would hide the module of a subclass

    @property
    def patch(self) -> Triple:
        """(frames, height, width) of the patches that masks are made of."""
        return self.encoder.patch

    @property
    def grid(self) -> Triple:
        """The patches (t, h, w) of a clip of the model's own size."""
        return self.encoder.grid

    @property
    def clip_size(self) -> Triple:
        """(T, H, W) of the model's clips in pixels."""
        (t, h, w), (a, p, q) = self.grid, self.patch
        return t * a, h * p, w * q

    @property
    def timesteps(self) -> int | None:
        """T of the schedule; None for an objective without timesteps."""
        return None if self.schedule is None else self.schedule.timesteps

    # --- training ----------------------------------------------------------------------------

    @abstractmethod
    def objective(self, clip: Tensor, *args: Any, **kwargs: Any) -> Output:
        """The training loss of a batch; draws nothing.

        It is called with the keyword arguments that the model declares to read, and no others: ``mask``, a
        :class:`~diffmae_video.masks.Mask`; ``t``, int64 in 1..T, [B] or with ``token_timesteps`` [B, M];
        ``noise``, float32 [B, *noise_shape].
        """

    def noise_shape(self, clip: Tensor, mask: Mask | None) -> tuple[int, ...] | None:
        """The shape of the noise for one clip of a batch; None for an objective without noise."""
        return None

    def forward(
        self,
        clip: Tensor,
        mask: Mask | None = None,
        t: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        times: Tensor | None = None,
    ) -> Output:
        """The training loss of a batch. Draws what the objective reads and was not given.

        Args:
            clip: float [B, 3, T, H, W], normalised by ``mean`` and ``std``; or uint8, as it was decoded.
            mask: the visible and masked patches; drawn by the model's own kind and ratio if None.
            t: timesteps, int64 [B] or (``token_timesteps``) [B, M] in 1..T; drawn by the schedule if None.
            noise: standard normal, [B, *noise_shape]; drawn if None.
            generator: on the clip's device.
            times: float [B, t] or [1, t], where each time step of the grid really is, for clips whose frames
                are unevenly spaced; counted in time steps. None stands for the mask's times, by default
                0, 1, 2, ... Only for rotary positions.

        Raises:
            InputError: the clip does not divide into patches, the mask or the times do not fit it, or the
                model has no use for times.
        """
        self.check_times(times)
        inputs: dict[str, Any] = {}
        if self.mask is not None:
            mask = self.draw_mask(clip, generator) if mask is None else mask
            inputs["mask"] = mask = mask.at(times)
        if self.schedule is not None:
            inputs["t"] = t
            if t is None:
                size = mask.masked.shape if self.token_timesteps and mask is not None else (len(clip),)
                inputs["t"] = self.schedule.draw_timesteps(size, generator, clip.device)
        shape = self.noise_shape(clip, mask)
        if shape is not None:
            inputs["noise"] = noise
            if noise is None:
                inputs["noise"] = torch.randn((len(clip), *shape), generator=generator, device=clip.device)
        if clip.dtype == torch.uint8 and not self.reads_raw_pixels:
            clip = self.normalisation(clip.movedim(1, -1)).movedim(-1, 1)
        return self.objective(clip, **inputs)

    def check_times(self, times: Tensor | None) -> None:
        """Refuses the times of unevenly spaced frames for a model that is trained on whole clips."""
        if times is not None and self.mask is None:
            raise InputError(
                f"{type(self).__name__} takes evenly spaced frames only; a DiffMAE or an MAE takes times"
            )

    def draw_mask(self, clip: Tensor, generator: torch.Generator | None = None) -> Mask:
        """A mask of the model's own kind and ratio for a clip, on its device."""
        if self.mask is None:
            raise InputError(f"{type(self).__name__} is trained without masks and draws none")
        grid = grid_of((clip.shape[2], clip.shape[3], clip.shape[4]), self.patch)
        return Mask.draw(batch=len(clip), grid=grid, generator=generator, device=clip.device, **self.mask)

    def activations(self, mask: Mask | None) -> Activations | None:
        """What a training forward of one clip keeps for backward; None if no formula is known."""
        return None

    # --- recognition -------------------------------------------------------------------------

    def backbone(self) -> Backbone:
        """What recognition is built on: clean clips to tokens."""
        return self.encoder

    def encode(self, clip: Tensor, mask: Mask | None = None) -> Tensor:
        """Patch tokens of a clean clip: [B, N, D], with a mask those of visible patches [B, V, D].

        A mask's ``times`` say where the frames are, see :meth:`forward`.

        Raises:
            InputError: a mask is given to a model that is trained on whole clips.
        """
        if mask is None:
            return self.encoder(clip)
        if self.mask is None:
            raise InputError(f"{type(self).__name__} is trained on whole clips; encode them without a mask")
        tokens = self.encoder(clip, mask)
        return tokens

    # --- inpainting and sampling ---------------------------------------------------------------

    def check_inpainter(self) -> None:
        """Allows the models that serve films, the live page and the comparison of fills.

        They predict masked patches from visible ones, in pixels, which :meth:`predictor` needs.

        Raises:
            InputError: this model cannot predict masked patches as pixels.
        """
        raise InputError(
            f"{type(self).__name__} does not predict masked patches from visible ones; give the folder of a "
            "model that was pre-trained on masks, such as a DiffMAE or an MAE"
        )

    def predictor(self, clip: Tensor, mask: Mask, num_samples: int = 1) -> PredictX0:
        """The conditional denoiser of a masked clip; the visible patches are encoded once, here.

        Args:
            clip: float [B, 3, T, H, W], normalised; masked patches are never read.
            num_samples: the denoiser takes this many samples of each clip, side by side.

        Returns:
            ``(xt, t) -> x0``: noised masked patches [B * num_samples, M, P] at t int64 [B * num_samples]
            to clean ones. A model without timesteps ignores both.

        Raises:
            InputError: see :meth:`check_inpainter`; or the mask does not fit the clip.
        """
        self.check_inpainter()
        raise TypeError(f"{type(self).__name__} passes check_inpainter and so has to define predictor")

    def reverse_steps(
        self,
        predict_x0: PredictX0,
        noise: Tensor,
        sampler: str,
        steps: int,
        spacing: str = "angle",
        eta: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Iterator[tuple[int, Tensor]]:
        """The reverse process of the model's schedule: each t and the x0 predicted at it, T first.

        A model without a schedule predicts once, at t = 0.

        Args, raises: see :func:`diffmae_video.diffusion.sample`.
        """
        if self.schedule is None:
            yield 0, predict_x0(noise, torch.zeros(len(noise), dtype=torch.int64, device=noise.device))
        else:
            yield from sample_steps(predict_x0, noise, self.schedule, sampler, steps, spacing, eta, generator)

    def sampling_timesteps(self, steps: int) -> list[int]:
        """The timesteps that :meth:`reverse_steps` visits, T first; [0] without a schedule.

        Raises:
            InputError: steps outside 1..T.
        """
        return [0] if self.schedule is None else self.schedule.sampling_timesteps(steps)

    def fill_steps(
        self, clip: Tensor, mask: Mask, generator: torch.Generator, *args: Any, **kwargs: Any
    ) -> Iterator[tuple[int, Tensor]]:
        """What :meth:`inpaint_steps` yields; the model is in evaluation mode and gradients are off.

        Called with ``sampler``, ``steps``, ``num_samples`` and the model's own options.
        """
        raise InputError(f"{type(self).__name__} does not inpaint")

    @torch.no_grad()
    def inpaint_steps(
        self,
        clip: Tensor,
        mask: Mask,
        sampler: str = "ddim",
        steps: int = 50,
        seed: int = 0,
        num_samples: int = 1,
        times: Tensor | None = None,
        **options: Any,
    ) -> Iterator[tuple[int, Tensor]]:
        """Inpaints step by step, to be watched or left early.

        Args, raises: see :meth:`inpaint`.

        Yields:
            Each t, T first, and the prediction of the masked patches [B * num_samples, M, P], which
            :meth:`paste` puts into the clip. The last ones are those of ``inpaint``'s clip.
        """
        mask = mask.at(times)
        self.check_times(mask.times)
        generator = torch.Generator(clip.device).manual_seed(seed)
        with evaluating(self):
            yield from self.fill_steps(
                clip, mask, generator, sampler=sampler, steps=steps, num_samples=num_samples, **options
            )

    @torch.no_grad()
    def inpaint(
        self,
        clip: Tensor,
        mask: Mask,
        sampler: str = "ddim",
        steps: int = 50,
        seed: int = 0,
        return_steps: bool = False,
        num_samples: int = 1,
        times: Tensor | None = None,
        **options: Any,
    ) -> Inpainting:
        """Fills the masked patches of a clip.

        Args:
            clip: float [B, 3, T, H, W], normalised; masked patches are never read.
            mask: what to fill.
            sampler, steps: see :func:`diffmae_video.diffusion.sample`. A model that predicts in one pass or
                has its own sampler ignores what it does not need.
            seed: of all random numbers.
            return_steps: keep the x0 prediction of each step.
            num_samples: samples of each clip; the result's batch is B * num_samples, the samples of a clip
                side by side.
            times: of unevenly spaced frames, see :meth:`forward`.
            options: the model's own, see its ``fill_steps``.

        Raises:
            InputError: the model does not inpaint, the mask does not fit, or an unknown sampler or number
                of steps.
        """
        run = self.inpaint_steps(clip, mask, sampler, steps, seed, num_samples, times, **options)
        clip, mask = repeat_clips(clip, mask, num_samples)
        timesteps, pasted = [], []
        for t, fill in run:
            timesteps.append(t)
            if return_steps:
                pasted.append(self.paste(clip, mask, fill))
        filled = pasted[-1] if return_steps else self.paste(clip, mask, fill)
        return Inpainting(filled, torch.stack(pasted) if return_steps else None, timesteps)

    def masked_patches(self, clip: Tensor, mask: Mask) -> Tensor:
        """The masked patches [B, M, P] of a clip."""
        return gather_tokens(patchify(clip, self.patch), mask.masked)

    def paste(self, clip: Tensor, mask: Mask, fill: Tensor) -> Tensor:
        """The clip with patches [B, M, P] in its masked places; the rest is untouched.

        Raises:
            InputError: ``fill`` is not of that shape, but, for example, a filled clip.
        """
        patches = patchify(clip, self.patch)
        wanted = (*mask.masked.shape, patches.shape[-1])
        if fill.shape != wanted:
            raise InputError(
                f"paste takes patches of shape {list(wanted)}, got {list(fill.shape)}; what inpaint returns "
                "as clip is a whole clip already"
            )
        index = mask.masked[..., None].expand_as(fill)
        return unpatchify(patches.scatter(1, index, fill.to(patches.dtype)), mask.grid, self.patch)

    def sample(self, count: int, *args: Any, **kwargs: Any) -> Inpainting:
        """Generates clips [count, 3, T, H, W], normalised, on the model's device.

        Raises:
            InputError: the model fills masked clips only; see ``generates``.
        """
        raise InputError(f"{type(self).__name__} fills masked clips and does not generate whole ones")

    def previews(self, clip: Tensor, mask: Mask, steps: int) -> dict[str, Tensor]:
        """What validation shows of the model, by title: clips of the input's shape, normalised.

        Args:
            steps: of diffusion.

        Returns:
            Nothing for a model whose predictions cannot be shown.
        """
        return {}


def repeat_clips(clip: Tensor, mask: Mask, count: int) -> tuple[Tensor, Mask]:
    """Each clip and its mask ``count`` times, side by side."""
    if count == 1:
        return clip, mask
    return clip.repeat_interleave(count, dim=0), mask.repeat_interleave(count)


def load_inpainter(folder: str | Path) -> PretrainingModel:
    """The model of a folder, in evaluation mode, that serves films, the live page and comparisons.

    Raises:
        InputError: the folder cannot be read, or its model cannot fill masked patches.
    """
    model = load_model(folder)
    if not isinstance(model, PretrainingModel):
        raise InputError(
            f"{folder}: holds the model {type(model).__name__}, which does not inpaint; give the folder of a "
            "pre-training run"
        )
    try:
        model.check_inpainter()
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    return model
