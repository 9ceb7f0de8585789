"""Writes encoders and classifiers as programs that need none of this code: ONNX, and torch.export's .pt2."""

import copy
import io
import json
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from diffmae_video.errors import InputError, require
from diffmae_video.files import atomic_path
from diffmae_video.models.classifier import Classifier
from diffmae_video.models.encoder import Encoder

PROGRAMS = {"onnx": ".onnx", "torch-export": ".pt2"}
METADATA = ("classes", "multi_label", "mean", "std")  # what a classifier's program stores beside its weights
LARGEST_ONNX = 2**31 - 2**24  # bytes of weights; the rest of the file needs some of the 2 GB


def save_program(encoder: Encoder, classifier: Classifier | None, path: Path, to: str) -> None:
    """Writes a model as one of PROGRAMS, in float32.

    Its input ``clip`` is [B, 3, T, H, W], or ``image`` [B, 3, H, W] for a model of one frame, normalised, for
    any B; its output is a classifier's ``logits`` [B, classes] or an encoder's ``tokens`` [B, N, D]. A
    classifier's file holds its METADATA as JSON: in ONNX's metadata, and in the ``extra_files`` that
    ``torch.export.load`` fills.

    Args:
        classifier: the one that the encoder belongs to, if any.

    Raises:
        InputError: the path has another suffix, or the model is too large for an ONNX file.
        MissingExtraError: a package for ONNX is not installed.
        OSError: the file cannot be written; nothing is left of it.
    """
    if path.suffix != PROGRAMS[to]:
        raise InputError(f"{path}: {to} is a file; give a path that ends in {PROGRAMS[to]}")
    if to == "onnx":
        _check_onnx(encoder, classifier)
    program = traced(encoder, classifier)
    metadata = {}
    if classifier is not None:
        metadata = {name: json.dumps(getattr(classifier, name)) for name in METADATA}
    if to == "onnx":
        _save_onnx(program, path, metadata, "tokens" if classifier is None else "logits")
        return
    # torch.export.save kills the process if it meets a full disk, so it writes to memory.
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files=metadata)
    with atomic_path(path) as aside:
        aside.write_bytes(buffer.getbuffer())


def _check_onnx(encoder: Encoder, classifier: Classifier | None) -> None:
    """Checks what ONNX needs before a model is traced.

    Raises:
        InputError: the model is too large for an ONNX file.
        MissingExtraError: a package is not installed.
    """
    for module in ("onnx", "onnxscript"):
        require(module, "export")
    model = encoder if classifier is None else classifier
    size = sum(4 * weight.numel() for weight in model.state_dict().values())
    if size > LARGEST_ONNX:
        raise InputError(
            f"an ONNX file holds 2 GB, and this model takes {size / 1e9:.1f} GB; use torch-export"
        )


def traced(encoder: Encoder, classifier: Classifier | None) -> ExportedProgram:
    """The program of a model, in float32, on the CPU and for any number of clips."""
    model = copy.deepcopy(encoder if classifier is None else classifier).float().cpu().eval()
    batch = ({0: torch.export.Dim("batch", min=1)},)
    return torch.export.export(model, (_example(encoder),), dynamic_shapes=batch)


def _example(encoder: Encoder) -> Tensor:
    t, h, w = (count * side for count, side in zip(encoder.grid, encoder.patch, strict=True))
    # Two clips, because torch makes a batch of one a constant.
    return torch.zeros(2, 3, h, w) if t == 1 else torch.zeros(2, 3, t, h, w)


def _save_onnx(program: ExportedProgram, path: Path, metadata: dict[str, str], output: str) -> None:
    is_image = len(program.example_inputs[0][0].shape) == 4
    onnx = torch.onnx.export(
        program,
        input_names=["image" if is_image else "clip"],
        output_names=[output],
        dynamic_shapes=({0: "batch"},),
        verbose=False,
    )
    assert onnx is not None
    onnx.model.metadata_props.update(metadata)
    with atomic_path(path) as aside:
        onnx.save(aside, external_data=False)
