"""How a film is cut into stretches: groups of overlapping clips that are sampled jointly."""

from typing import NamedTuple

from diffmae_video.film.windows import starts, time_step


class Stretch(NamedTuple):
    """Clips that are sampled jointly. All numbers count frames of the film."""

    clips: list[int]  # the first frame of each clip
    end: int  # the frame after the last clip
    cut: int  # the first frame of the next stretch

    @property
    def start(self) -> int:
        return self.clips[0]


def cut_into_stretches(
    num_frames: int, clip: int, patch: int, aligned: bool, max_clips: int
) -> list[Stretch]:
    """Covers a film with clips and groups them.

    Args:
        num_frames: frames of the film; clips may reach past its end, where the last frame is repeated.
        clip, patch: frames of a clip and of a patch.
        aligned: see :func:`~diffmae_video.film.windows.time_step`.
        max_clips: the most clips that a stretch may have.
    """
    total = max(clip, -(-num_frames // patch) * patch)
    clips = starts(total, clip, time_step(clip, patch, aligned))
    groups = [clips[i : i + max_clips] for i in range(0, len(clips), max_clips)]
    cuts = [*(group[0] for group in groups[1:]), total]
    return [Stretch(group, group[-1] + clip, cut) for group, cut in zip(groups, cuts, strict=True)]
