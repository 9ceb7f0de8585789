"""``load_trunk``: what a classifier can stand on, of any model of this project and of what others saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffmae_video.models.adm import ADM, UNetEncoder
from diffmae_video.models.igpt import IGPT, PixelGPT
from diffmae_video.models.pretrained import WEIGHTS, load_model
from diffmae_video.models.trunk import Trunk
from diffmae_video.models.weight_files import read_config
from diffmae_video.models.weights import load_encoder

OTHERS = {cls.__name__ for cls in (ADM, UNetEncoder, IGPT, PixelGPT)}  # all else stands on an Encoder


def load_trunk(
    path: str | Path,
    image_size: Sequence[int] | None = None,
    num_frames: int | None = None,
    num_heads: int | None = None,
) -> Trunk:
    """The part of a saved model that goes downstream, in evaluation mode: ``trunk(clip)`` is [B, N, D].

    Args:
        path, image_size, num_frames, num_heads: see :func:`~diffmae_video.models.weights.load_encoder`.

    Raises:
        InputError: see there; or a size that the trunk does not take.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    about = read_config(folder) if Path(path).is_dir() or Path(path).name == WEIGHTS else {}
    if about.get("trunk", about.get("model")) not in OTHERS:
        return load_encoder(path, image_size, num_frames, num_heads)
    model = load_model(folder)
    trunk: Trunk = model if isinstance(model, Trunk) else model.recognition_part()
    return trunk.fitted(image_size, num_frames).eval()
