"""``load_backbone``: loads the part of any saved model that a classifier is built on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffmae_video.models.adm import ADM, UNetEncoder
from diffmae_video.models.backbone import Backbone
from diffmae_video.models.classifier import Classifier
from diffmae_video.models.igpt import IGPT, PixelGPT
from diffmae_video.models.pretrained import WEIGHTS, load_model
from diffmae_video.models.weights.files import read_config
from diffmae_video.models.weights.load_encoder import load_encoder

NOT_VITS = {cls.__name__ for cls in (ADM, UNetEncoder, IGPT, PixelGPT)}  # all others are built on an Encoder


def load_backbone(
    path: str | Path,
    image_size: Sequence[int] | None = None,
    num_frames: int | None = None,
    num_heads: int | None = None,
) -> Backbone:
    """Loads what a classifier is built on, in evaluation mode: ``backbone(clip)`` is [B, N, D].

    Args:
        path, image_size, num_frames, num_heads: as of
            :func:`~diffmae_video.models.weights.load_encoder.load_encoder`.

    Raises:
        InputError: as of ``load_encoder``; or the backbone does not take this size.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    # Folders written before 2026-12 say "trunk" where config.json now says "backbone".
    config = read_config(folder) if Path(path).is_dir() or Path(path).name == WEIGHTS else {}
    if config.get("backbone", config.get("trunk", config.get("model"))) not in NOT_VITS:
        return load_encoder(path, image_size, num_frames, num_heads)
    model = load_model(folder)
    backbone: Backbone = model.backbone()
    return backbone.resized(image_size, num_frames).eval()


def load_feature_model(
    path: str | Path,
    image_size: Sequence[int] | None = None,
    num_frames: int | None = None,
    num_heads: int | None = None,
) -> Backbone | Classifier:
    """A saved model to take features from: a fine-tuned classifier as it is, of all others the backbone.

    Args:
        path, image_size, num_frames, num_heads: see :func:`load_backbone`. A classifier keeps its sizes.

    Raises:
        InputError: see :func:`load_backbone`.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    is_ours = path.is_dir() or path.name == WEIGHTS
    if is_ours and read_config(folder).get("model") == Classifier.__name__:
        classifier: Classifier = load_model(folder)
        return classifier
    return load_backbone(path, image_size, num_frames, num_heads)
