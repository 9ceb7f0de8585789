"""How a film is cut into stretches: groups of overlapping clips that are sampled jointly."""

from __future__ import annotations

from typing import NamedTuple

from diffmae_video.inpainting.film.windows import starts, time_step


class Stretch(NamedTuple):
    """Clips that are sampled jointly, in frames of the film.

    Attributes:
        clips: their first frames.
        end: of the last clip.
        cut: where the next stretch starts.
    """

    clips: list[int]
    end: int
    cut: int

    @property
    def start(self) -> int:
        return self.clips[0]


def cut_into_stretches(num_frames: int, clip: int, patch: int, aligned: bool, most: int) -> list[Stretch]:
    """The stretches of a film.

    Args:
        num_frames: of the film; clips may reach beyond them, where the last frame is repeated.
        clip, patch: frames of a clip and of a patch.
        aligned: see :func:`~diffmae_video.inpainting.film.windows.time_step`.
        most: clips of a stretch.
    """
    total = max(clip, -(-num_frames // patch) * patch)
    clips = starts(total, clip, time_step(clip, patch, aligned))
    groups = [clips[i : i + most] for i in range(0, len(clips), most)]
    cuts = [*(group[0] for group in groups[1:]), total]
    return [Stretch(group, group[-1] + clip, cut) for group, cut in zip(groups, cuts, strict=True)]
