"""A film with the model that was fitted to it: its fills, and an estimate of how good they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from diffmae_video.decoding import VideoReader
from diffmae_video.film.base_fill import BaseFill
from diffmae_video.film.film_filler import FilledFrame
from diffmae_video.film.fit_estimate import estimate
from diffmae_video.film.fit_windows import Colours
from diffmae_video.film.held_out import Place
from diffmae_video.film.hole_edges import paste
from diffmae_video.film.holes import Hole
from diffmae_video.film.scan import ScannedFilm
from diffmae_video.film.scene import Scene
from diffmae_video.film.scene_filler import SceneFiller
from diffmae_video.film.scene_windows import WindowShape
from diffmae_video.models import PretrainingModel
from diffmae_video.runtime.eval_mode import evaluating
from diffmae_video.runtime.progress import ProgressBar

CHUNK = 24  # frames that are filled jointly
OVERLAP = 4  # frames that two chunks share, and in which one fades into the other
SAMPLER = "dpm++"
STEPS = 10


class FittedFilm:
    """A film, its hole and a model fitted to them.

    Args:
        model: in evaluation mode, except during the fit.
        film: the film's scenes.
        shown: the scenes as training sees them, without the places of each.
        places: held out of each scene, for the estimate.
        base_fill: measured on the film.
        fills: the kinds of fill that there are; of a model that learnt nothing, only the base fill.
    """

    def __init__(
        self,
        model: PretrainingModel,
        video: VideoReader,
        hole: Hole,
        film: ScannedFilm,
        shown: Sequence[Scene],
        places: Sequence[Sequence[Place]],
        base_fill: BaseFill,
        shape: WindowShape,
        colours: Colours,
        fills: Sequence[str],
    ) -> None:
        self.model, self.video, self.hole, self.film = model, video, hole, film
        self.shown, self.places, self.base_fill = shown, places, base_fill
        self.shape, self.colours, self.fills = shape, colours, fills

    @property
    def has_learnt(self) -> bool:
        """Whether the model's predictions are among the fills."""
        return len(self.fills) > 1

    def estimate(self, sampler: str, steps: int) -> dict[str, Any]:
        """Scores of every kind of fill on held-out places, and the kind that suits this film.

        See :func:`~diffmae_video.film.fit_estimate.estimate`.
        """
        return estimate(
            self.model,
            self.film.scenes,
            self.shown,
            self.places,
            self.base_fill,
            self.shape,
            self.colours,
            self.fills,
            sampler,
            steps,
        )

    def preview(self, number: int) -> np.ndarray:
        """A frame of the film filled by the first prediction of the model as it is: uint8 [H, W, 3]."""
        frame, hidden = self.video.frames([number])[0], self._hole_of(number, number + 1)[0]
        for scene, box in zip(self.film.scenes, self.film.boxes, strict=True):
            index = number - scene.first
            if 0 <= index < scene.num_frames and hidden.any():
                with evaluating(self.model):
                    filler = self._filler(scene, index, index + 1)
                    filled = filler.fill("first", SAMPLER, 1, seed=0, sample=1)
                return self._paste(frame, hidden, filled[0], box)
        return frame

    def frames(self, fill: str, samples: int, sampler: str, steps: int, seed: int) -> Iterator[FilledFrame]:
        """All frames of the film, filled.

        Args:
            fill: ``base``, the base fill; ``first``, the first prediction; ``sample``; or ``mean``, the mean
                of several samples.
            samples: how many fills; of ``base`` and ``first`` there is only one, which is repeated.
            sampler, steps: see :func:`diffmae_video.diffusion.sample`.
            seed: of all noise.

        Raises:
            VideoError: a frame cannot be decoded.
        """
        number = 0
        with ProgressBar(total=self.film.num_frames, desc="filling", unit=" frames", leave=False) as bar:
            for scene, box in zip(self.film.scenes, self.film.boxes, strict=True):
                for frame in self._untouched(number, scene.first, samples):
                    yield frame
                    bar.update()
                filled = self._filled(scene, fill, samples, sampler, steps, seed)
                for number, pictures in enumerate(filled, scene.first):
                    truth, hidden = self.video.frames([number])[0], self._hole_of(number, number + 1)[0]
                    pasted = [self._paste(truth, hidden, picture, box) for picture in pictures]
                    yield FilledFrame(number, truth, hidden, pasted, iter(()))
                    bar.update()
                number = scene.first + scene.num_frames
            for frame in self._untouched(number, self.film.num_frames, samples):
                yield frame
                bar.update()

    def _untouched(self, first: int, last: int, samples: int) -> Iterator[FilledFrame]:
        for number in range(first, last):
            frame = self.video.frames([number])[0]
            yield FilledFrame(number, frame, np.zeros(frame.shape[:2], bool), [frame] * samples, iter(()))

    def _filled(
        self, scene: Scene, fill: str, samples: int, sampler: str, steps: int, seed: int
    ) -> Iterator[list[np.ndarray]]:
        """Each frame of a scene: one picture of the scene's own size for each sample."""
        tail: list[np.ndarray] = []  # of each sample, frames that the chunk before has filled too
        for start in range(0, scene.num_frames, CHUNK):
            stop = min(start + CHUNK, scene.num_frames)
            reach = min(stop + OVERLAP, scene.num_frames)
            filler = self._filler(scene, start, reach)
            filled = [filler.fill(fill, sampler, steps, seed, sample) for sample in range(1, samples + 1)]
            for new, old in zip(filled, tail, strict=False):
                for i in range(len(old)):
                    share = (i + 1) / (len(old) + 1)
                    new[i] = np.round((1 - share) * old[i] + share * new[i])
            tail = [pictures[stop - start :].copy() for pictures in filled]
            for i in range(stop - start):
                yield [pictures[i] for pictures in filled]

    def _filler(self, scene: Scene, start: int, stop: int) -> SceneFiller:
        return SceneFiller(
            self.model, scene, self.shape, self.colours, start, stop, np.array(scene.hidden[start:stop])
        )

    def _hole_of(self, first: int, last: int) -> np.ndarray:
        return self.hole.pixels(first, last)

    def _paste(
        self, frame: np.ndarray, hidden: np.ndarray, filled: np.ndarray, box: tuple[int, int, int, int]
    ) -> np.ndarray:
        """A frame of the film with a scene's filled picture in its hole."""
        if not hidden.any():
            return frame
        height, width = self.film.size
        top, left, high, wide = box
        whole = filled
        if (high, wide) != (height, width):
            whole = np.zeros((height, width, 3), np.uint8)
            whole[top : top + high, left : left + wide] = filled
        if frame.shape[:2] != (height, width):
            picture = torch.from_numpy(whole).permute(2, 0, 1)[None].float()
            picture = F.interpolate(picture, size=frame.shape[:2], mode="bicubic")[0].round().clamp(0, 255)
            whole = picture.byte().permute(1, 2, 0).numpy()
        return paste(frame, whole, hidden, self.hole.feather)
