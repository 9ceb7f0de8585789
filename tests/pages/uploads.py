"""Small runs and films for tests of the app."""

import numpy as np

from diffmae_video.encoding.clips import write_video
from tests.tiny_models import tiny_diffmae

FPS, FRAMES = 10, 40


def save(folder, model=None, recipe="DATA:\n  STRIDE: 2\n"):
    (model or tiny_diffmae()).save_pretrained(folder)
    (folder / "config.yaml").write_text(recipe)
    return folder


def film(path, size=(48, 64), count=FRAMES, fps=FPS):
    """Frame i is of the level 5 i."""
    write_video(path, np.stack([np.full((*size, 3), 5 * i, np.uint8) for i in range(count)]), fps)
    return path
