"""Masked autoencoders of every kind on clips of several shapes, for tests."""

from diffmae_video.models import MAE
from diffmae_video.models.decoder import DECODERS
from tests.tiny_models import tiny_diffmae

# frames, patch, (height, width): an image, 4 and 16 frames; not square
SHAPES = {"image": (1, (1, 8, 8), (24, 32)), "4": (4, (2, 8, 8), (16, 32)), "16": (16, (2, 8, 8), (24, 16))}
DIFFMAE = [(kind, objective) for kind in DECODERS for objective in ("x0", "eps", "normalised")]
VARIANTS = [*DIFFMAE, ("mae", "pixels"), ("mae", "normalised")]


def build(kind, objective, shape, class_token=False, **kwargs):
    frames, patch, size = SHAPES[shape]
    encoder = {"width": 32, "depth": 2, "heads": 2, "class_token": class_token}
    common = {
        "mask": {"kind": "random", "ratio": 0.75},
        "normalize_target": objective == "normalised",
        **kwargs,
    }
    if kind == "mae":
        return MAE(size, frames, patch, encoder, {"width": 32, "depth": 1, "heads": 2}, **common)
    prediction = "eps" if objective == "eps" else "x0"
    return tiny_diffmae(kind, frames, size, patch=patch, encoder=encoder, prediction=prediction, **common)
