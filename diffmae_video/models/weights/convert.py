"""Converts weights to the formats of other libraries."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffmae_video.errors import InputError
from diffmae_video.models.card import convert_card
from diffmae_video.models.classifier import Classifier
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.pretrained import CONFIG, WEIGHTS, load_model
from diffmae_video.models.weights.files import read_config
from diffmae_video.models.weights.load_encoder import load_encoder
from diffmae_video.models.weights.programs import PROGRAMS, save_program
from diffmae_video.models.weights.timm_format import FILE_SUFFIXES, save_timm, timm_obstacle
from diffmae_video.models.weights.videomae_format import save_videomae, videomae_obstacle

FORMATS = ("diffmae", "timm", "hf-videomae", *PROGRAMS)


def convert(
    source_path: Path,
    output: Path,
    to: str,
    image_size: int | Sequence[int] | None = None,
    num_frames: int | None = None,
    num_heads: int | None = None,
    source: str = "auto",
    eps: float | None = None,
) -> str:
    """Converts a file or folder of weights to one of FORMATS. The weights of a run get a model card.

    Args:
        source_path: the folder of a classifier, which keeps its head and its sizes, or anything that
            :func:`~diffmae_video.models.weights.load_encoder.load_encoder` reads.
        output: see :func:`save_as`.
        image_size, num_frames, num_heads, source, eps: see ``load_encoder``. For timm, clips become images.

    Returns:
        One line about the model that was written.

    Raises:
        InputError: the weights cannot be read, the output would replace them, a size does not suit the
            format or is given for a classifier, or the format cannot hold the model.
        OSError: the output cannot be written.
    """
    if to == "timm" and num_frames not in (None, 1):
        raise InputError(f"num_frames {num_frames}: timm's ViT takes images; leave it out")
    if _files_at(source_path) & _files_at(output):
        raise InputError(f"{output}: would replace the input; give another output")
    model: Encoder | Classifier
    if is_classifier(source_path):
        if any(value is not None for value in (image_size, num_frames, num_heads, eps)):
            raise InputError(
                f"{source_path}: is a classifier, which is converted as it is; leave out its sizes"
            )
        model = load_model(source_path, averaged=False)
    else:
        num_frames = 1 if to == "timm" else num_frames
        model = load_encoder(source_path, image_size, num_frames, num_heads, source, eps)
    save_as(model, output, to)
    if to not in PROGRAMS:
        convert_card(source_path, output, to)
    return f"{output}: {to}, {_describe(model)}"


def _files_at(path: Path) -> set[Path]:
    """The files that a path of weights stands for: itself, or those in it if it is a folder."""
    return {path.resolve() / name for name in ("", CONFIG, WEIGHTS)}


def save_as(model: Encoder | Classifier, path: str | Path, to: str) -> None:
    """Writes an encoder, or a classifier with its head, in one of FORMATS.

    Args:
        path: a folder; for ``timm`` also a file that ends in .safetensors, .pth, .pt or .bin; for ``onnx`` a
            file that ends in .onnx, for ``torch-export`` one that ends in .pt2.

    Raises:
        InputError: the format is unknown or cannot hold this model, or the path does not suit it.
        OSError: the path cannot be written; files that were there before are kept.
    """
    path = Path(path)
    encoder, classifier = _parts(model)
    if to not in FORMATS:
        raise InputError(f"unknown format {to!r}; choose one of {', '.join(FORMATS)}")
    if obstacle := _obstacle(encoder, to):
        others = formats_for(model)
        fits_timm_as_images = classifier is None and encoder.positions.kind != "rope"
        if fits_timm_as_images and to == "timm":
            obstacle += " (load it with num_frames=1 to make it an encoder of images)"
        elif fits_timm_as_images and "timm" not in others:
            others.append("timm (as an encoder of images)")
        choice = f"{', '.join(others[:-1])} or {others[-1]}"
        kind = "encoder" if classifier is None else "classifier"
        raise InputError(f"{to} cannot hold this {kind}: {obstacle}; convert it to {choice}")
    if path.suffix in FILE_SUFFIXES and to in ("diffmae", "hf-videomae"):
        raise InputError(f"{path}: {to} is a folder of {CONFIG} and {WEIGHTS}; give a folder")
    if to in PROGRAMS:
        save_program(encoder, classifier, path, to)
    elif to == "timm":
        save_timm(encoder, classifier, path)
    elif to == "hf-videomae":
        save_videomae(encoder, classifier, path)
    else:
        model.save_pretrained(path)


def formats_for(model: Encoder | Classifier) -> list[str]:
    """The FORMATS that can hold a model as it is."""
    encoder, _ = _parts(model)
    return [name for name in FORMATS if not _obstacle(encoder, name)]


def _obstacle(encoder: Encoder, to: str) -> str | None:
    if to == "timm":
        return timm_obstacle(encoder)
    return videomae_obstacle(encoder) if to == "hf-videomae" else None


def is_classifier(path: Path) -> bool:
    """Whether a path is the folder of one of our classifiers."""
    return path.is_dir() and read_config(path).get("model") == Classifier.__name__


def _parts(model: Encoder | Classifier) -> tuple[Encoder, Classifier | None]:
    """The encoder of a model, and the classifier if it is one.

    Raises:
        InputError: the classifier's backbone is not a ViT.
    """
    if isinstance(model, Encoder):
        return model, None
    if not isinstance(model.encoder, Encoder):
        raise InputError(
            f"a {type(model.encoder).__name__} is not a ViT; no other library has a layout for its weights"
        )
    return model.encoder, model


def _describe(model: Encoder | Classifier) -> str:
    encoder, classifier = _parts(model)
    clip = " x ".join(str(n * side) for n, side in zip(encoder.grid, encoder.patch, strict=True))
    patch = " x ".join(map(str, encoder.patch))
    block: Any = encoder.blocks[0]
    classes = "" if classifier is None else f", {len(classifier.classes)} classes"
    return (
        f"clips {clip}, patches {patch}, width {encoder.width}, {encoder.depth} blocks, "
        f"{block.attn.num_heads} heads{classes}"
    )
