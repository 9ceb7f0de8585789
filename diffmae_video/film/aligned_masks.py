"""A film of masks laid over a film: resized to its frames, and aligned by time if the rates differ."""

import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from diffmae_video.data.mask_files import MaskFilm
from diffmae_video.decoding import VideoReader
from diffmae_video.errors import InputError, InputWarning

MAX_STRETCH = 1.05  # of the aspect ratio of a mask over the film's
SAME_TIME = 0.1  # of a mask's duration: a frame so close to a mask's start has no other mask


class AlignedMasks:
    """Gives the mask of each frame of a film. Differences are stated once, as a warning.

    With as many masks as frames, each frame has its own. Otherwise a frame takes the mask of its time. If it
    lies between two masks, both apply, so that a moving object does not stick out. Masks without a clock (a
    folder of pictures) are spread evenly over the film. Nothing is hidden after the end of the last mask.

    Args:
        path: of the masks, for messages.
        masks: read in ascending order, so that nothing is decoded twice.
        video: the film.

    Raises:
        InputError: the masks have another aspect ratio.
    """

    def __init__(self, path: Path, masks: MaskFilm, video: VideoReader) -> None:
        self.masks, self.size = masks, (video.height, video.width)
        notes = [resize_note((masks.height, masks.width), self.size, path)]
        frames = np.arange(video.num_frames)
        if masks.num_frames == video.num_frames:
            self.first, self.last = frames, frames
        else:
            ends = masks.ends
            if ends is None:
                ends = video.duration * np.arange(1, masks.num_frames + 1) / masks.num_frames
            self.first, self.last = _masks_at(video.times, ends)
            notes.append(_time_note(masks, ends, video))
        self.recent: dict[int, np.ndarray] = {}  # the last two masks
        said = [note for note in notes if note]
        if said:
            warnings.warn(f"{path}: {'; '.join(said)}", InputWarning, stacklevel=2)

    def hidden(self, first: int, end: int) -> np.ndarray:
        """What is hidden in frames ``first .. end - 1``: bool [n, H, W]."""
        hidden = np.zeros((end - first, *self.size), bool)
        for place, frame in enumerate(range(first, end)):
            if self.first[frame] < self.masks.num_frames:
                for number in range(self.first[frame], self.last[frame] + 1):
                    hidden[place] |= self._mask(number)
        return hidden

    def _mask(self, number: int) -> np.ndarray:
        """A mask at the film's size. Frames that lie between the same two masks share them."""
        if number not in self.recent:
            mask = resize_mask(self.masks.hidden(number, number + 1)[0], self.size)
            self.recent = {**dict(list(self.recent.items())[-1:]), number: mask}
        return self.recent[number]

    def close(self) -> None:
        self.masks.close()


def _masks_at(times: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first and last mask that apply at each time: int [n] each; the number of masks where none does."""
    starts = np.concatenate([[0.0], ends[:-1]])
    durations = ends - starts
    first = np.searchsorted(ends - SAME_TIME * durations, times, side="right")
    here = np.minimum(first, len(ends) - 1)
    is_between = times > starts[here] + SAME_TIME * durations[here]
    last = np.where(is_between, np.minimum(here + 1, len(ends) - 1), here)
    is_after = times >= ends[-1] - 1e-6
    return np.where(is_after, len(ends), here), np.where(is_after, len(ends), last)


def _time_note(masks: MaskFilm, ends: np.ndarray, video: VideoReader) -> str:
    note = f"{masks.num_frames} masks for {video.num_frames} frames are "
    if masks.ends is None:
        return note + f"spread evenly over its {video.duration:.2f} s"
    note += f"aligned by time ({masks.num_frames / ends[-1]:.4g} and {video.fps:.4g} a second)"
    if video.times[-1] >= ends[-1] - 1e-6:
        note += f", and nothing is hidden after {ends[-1]:.2f} s"
    return note


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask, bool [h, w], at another size: every pixel that it touches is hidden."""
    if mask.shape == size:
        return mask
    touched = F.adaptive_max_pool2d(torch.from_numpy(mask)[None].float(), size)[0]
    resized: np.ndarray = touched.numpy() > 0
    return resized


def resize_note(size: tuple[int, int], wanted: tuple[int, int], path: Path) -> str | None:
    """What to say about masks of another size (height, width) than the film's; None if it is the same.

    Raises:
        InputError: the aspect ratios differ by more than ``MAX_STRETCH``.
    """
    if size == wanted:
        return None
    (height, width), (high, wide) = size, wanted
    stretch = width * high / (height * wide)
    if max(stretch, 1 / stretch) > MAX_STRETCH:
        raise InputError(
            f"{path}: the mask has {width} x {height} pixels and the input {wide} x {high}, which is another "
            "shape; crop or pad the mask"
        )
    return f"masks of {width} x {height} pixels are resized to {wide} x {high}"
