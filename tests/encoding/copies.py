"""Copies of the decoding cases, with their sound."""

from diffmae_video.decoding import open_video
from diffmae_video.encoding.writers import open_film
from tests.decoding.numbered import CASES


def copied(name, target):
    """Writes all frames of a case anew with its sound."""
    with open_video(CASES / name, "pyav") as video:
        with open_film(target, video.fps, times=video.times, sound=CASES / name, like=video) as write:
            for frame in video.frames(range(video.num_frames)):
                write(frame)
        return video.duration
