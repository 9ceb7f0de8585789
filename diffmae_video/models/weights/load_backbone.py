"""``load_backbone``: loads the part of any saved model that a classifier is built on."""

from collections.abc import Sequence
from pathlib import Path

from diffmae_video.models.backbone import Backbone
from diffmae_video.models.classifier import Classifier
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.weights.files import own_config
from diffmae_video.models.weights.load_encoder import fit_encoder, load_encoder, own_model, trained_encoder


def load_backbone(
    path: str | Path,
    image_size: Sequence[int] | None = None,
    num_frames: int | None = None,
    num_heads: int | None = None,
) -> Backbone:
    """Loads what a classifier is built on, in evaluation mode: ``backbone(clip)`` is [B, N, D].

    Arguments and errors are those of :func:`~diffmae_video.models.weights.load_encoder.load_encoder`.
    Backbones other than a ViT refuse clips of another size.
    """
    model = own_model(path)
    if model is None:
        return load_encoder(path, image_size, num_frames, num_heads)
    if isinstance(model.backbone(), Encoder):
        return fit_encoder(path, trained_encoder(path, model), image_size, num_frames, num_heads)
    return model.backbone().resized(image_size, num_frames).eval()


def load_feature_model(
    path: str | Path,
    image_size: Sequence[int] | None = None,
    num_frames: int | None = None,
    num_heads: int | None = None,
) -> Backbone | Classifier:
    """Loads a model to take features from: a fine-tuned classifier as it is, or the backbone of any other.

    Arguments and errors are those of :func:`load_backbone`. A classifier keeps its sizes.
    """
    if own_config(path).get("model") == Classifier.__name__:
        return own_model(path)
    return load_backbone(path, image_size, num_frames, num_heads)
