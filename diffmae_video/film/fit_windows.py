"""Training data of a fit: windows of a film's scenes in which known patches are hidden, to be predicted.

A clip of training has twice the frames of a window. The first half, which the encoder reads, is the window
with a base fill in its hole; the second half, which the decoder predicts, is what is missing from that fill.
Both halves have the same times, so that with rotary positions a patch and its correction lie at one place.
What the real hole hides is never read: a patch that it touches is no target, and the encoder sees the base
fill there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from diffmae_video.data import Fault
from diffmae_video.data.random_clips import SampleKey
from diffmae_video.errors import InputError
from diffmae_video.film.scene import Scene
from diffmae_video.film.scene_windows import Window, WindowShape, cut_window
from diffmae_video.masks import Mask
from diffmae_video.randomness import random_state
from diffmae_video.tokens import Triple

LEAST_MASKED = 8  # patches of a window
MOST_MASKED = 192  # patches of a window that are predicted; more teach little more and take time
LEAST_VISIBLE = 0.3  # share of a window's patches that lie inside of their frames
TRIES = 200
EPOCH = 1024  # windows that count as a pass over the film


@dataclass(frozen=True)
class Colours:
    """How a window's pixels become a model's values.

    Attributes:
        mean, std: of the film's known pixels, [3], in levels of 255.
        correction: the size of what is missing from base fills, in levels of 255.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    correction: float

    def clip(self, window: Window) -> Tensor:
        """Float [3, 2 T, h, w]: the normalised window, and its correction."""
        mean, std = (torch.tensor(x).view(3, 1, 1, 1) for x in (self.mean, self.std))
        return torch.cat([(window.filled - mean) / std, (window.truth - window.filled) / self.correction], 1)


class Example(NamedTuple):
    """A window as a model reads it.

    Attributes:
        clip: float [3, 2 T, h, w].
        visible, masked: int64 [V] and [M], tokens of the clip.
        times: float [2 t].
        grid: patches (2 t, rows, columns).
    """

    clip: Tensor
    visible: Tensor
    masked: Tensor
    times: Tensor
    grid: Triple


class FitBatch(NamedTuple):
    """A batch of windows.

    Attributes:
        clips: float [B, 3, 2 T, h, w].
        mask: visible patches in the first half of each clip, masked ones in the second.
        samples: the key of each window.
        faults: none; a film that cannot be decoded ends before the fit begins.
    """

    clips: Tensor
    mask: Mask
    samples: tuple[SampleKey, ...]
    faults: tuple[Fault, ...] = ()


class FitWindows(Dataset[tuple[Example, SampleKey]]):
    """Random windows of rehearsals.

    Everything random about a window depends only on the seed and its place in the stream.

    Args:
        rehearsals: scenes that pretend to hide known parts; see
            :mod:`~diffmae_video.film.rehearsals`.
        colours: how pixels become values.
        seed: of the windows.

    Raises:
        InputError: the rehearsals hide nothing that is known.
    """

    repeats = 1

    def __init__(self, rehearsals: Sequence[Scene], shape: WindowShape, colours: Colours, seed: int) -> None:
        self.rehearsals, self.shape, self.colours, self.seed = rehearsals, shape, colours, seed

    def measure_corrections(self, count: int) -> None:
        """Sets ``colours.correction`` to the root mean square of what base fills miss."""
        errors = []
        for k in range(count):
            window, _ = self.draw(np.random.default_rng([self.seed, k]))
            masked = window.masked
            for dim, side in enumerate(self.shape.patch):
                masked = masked.repeat_interleave(side, dim)
            errors.append(((window.truth - window.filled)[:, masked] ** 2).mean())
        size = max(1.0, float(torch.stack(errors).mean().sqrt()))
        self.colours = replace(self.colours, correction=size)

    def __len__(self) -> int:
        return EPOCH

    def __getitem__(self, key: SampleKey) -> tuple[Example, SampleKey]:
        rng = np.random.default_rng([self.seed, key.position])
        return self.example(rng), key

    def example(self, rng: np.random.Generator) -> Example:
        window, times = self.draw(rng)
        visible, masked = (x.flatten().nonzero()[:, 0] for x in (window.visible, window.masked))
        order = torch.from_numpy(rng.permutation(len(masked))[:MOST_MASKED]).sort().values
        tokens = window.visible.numel()
        t, h, w = self.shape.grid
        return Example(
            self.colours.clip(window), visible, tokens + masked[order], times.repeat(2), (2 * t, h, w)
        )

    def draw(self, rng: np.random.Generator) -> tuple[Window, Tensor]:
        """A random window with at least ``LEAST_MASKED`` patches to predict, and its times.

        It lies around a random pixel that a rehearsal hides. If none is found in ``TRIES`` draws, the last
        one that had any patch is taken.
        """
        last = None
        for _ in range(TRIES):
            scene = self.rehearsals[int(rng.integers(len(self.rehearsals)))]
            choice = self.shape.random_frames(scene.num_frames, rng)
            frame = int(rng.choice(choice.frames))
            if scene.pretended is None or not scene.pretended[frame].any():
                continue
            place = rng.choice(np.argwhere(scene.pretended[frame]))
            corner = self.shape.corner_around(scene.offsets[frame] + place, rng)
            window = cut_window(scene, self.shape, choice, corner)
            if not window.masked.any():
                continue
            last = window, choice.times
            is_full = window.visible.float().mean() >= LEAST_VISIBLE
            if is_full and int(window.masked.sum()) >= LEAST_MASKED:
                break
        if last is None:
            raise InputError("the hole leaves no part of the film to learn from; hide less")
        window, times = last
        return (window.mirrored() if rng.random() < 0.5 else window), times

    @staticmethod
    def collate(samples: Sequence[tuple[Example, SampleKey]]) -> FitBatch:
        """Joins windows; those with more patches lose some, drawn at random but the same each time."""
        examples = [example for example, _ in samples]
        generator = random_state(samples[0][1].position)
        visible, masked = (
            torch.stack([_subset(tokens, min(map(len, every)), generator) for tokens in every])
            for every in ([e.visible for e in examples], [e.masked for e in examples])
        )
        first = examples[0]
        return FitBatch(
            torch.stack([e.clip for e in examples]),
            Mask(visible, masked, first.grid, torch.stack([e.times for e in examples])),
            tuple(key for _, key in samples),
        )


def _subset(tokens: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return tokens[torch.randperm(len(tokens), generator=generator)[:count]].sort().values


class FitLoss:
    """The loss of a batch of windows; timesteps and noise depend only on the seed and the windows' places."""

    def __init__(self, engine: Any, device: torch.device, seed: int) -> None:
        self.engine, self.device, self.seed = engine, device, seed
        self.generator = torch.Generator(device)

    def __call__(self, batch: FitBatch) -> Tensor:
        key = random_state(self.seed, batch.samples[0].position)
        self.generator.manual_seed(key.initial_seed())
        clips, mask = batch.clips.to(self.device), batch.mask.to(self.device)
        loss: Tensor = self.engine(clips, mask=mask, generator=self.generator).loss
        return loss
