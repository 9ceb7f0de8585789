"""Encoders and classifiers as programs that need none of this code: ONNX, and torch.export's .pt2."""

from __future__ import annotations

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
from diffmae_video.models.weights.convert import encoder_of

PROGRAMS = {"onnx": ".onnx", "torch-export": ".pt2"}
ABOUT = ("classes", "multi_label", "mean", "std")  # of a classifier, beside its program
LARGEST = 2**31 - 2**24  # bytes of an ONNX file, less what is no weight


def save_program(model: Encoder | Classifier, path: str | Path, to: str) -> None:
    """Writes a model as one of PROGRAMS, in float32.

    Its input ``clip`` is [B, 3, T, H, W], or ``image`` [B, 3, H, W] where the model is of one frame,
    normalised, for any B; its output ``logits`` [B, classes], or an encoder's ``tokens`` [B, N, D]. A
    classifier's file holds what ABOUT names, each as JSON: in ONNX's metadata, and in the
    ``extra_files`` that ``torch.export.load`` fills.

    Raises:
        InputError: the path has another ending, an ONNX file cannot hold so large a model, or its
            packages are missing.
        OSError: the file cannot be written; no part of it stays.
    """
    path = Path(path)
    if path.suffix != PROGRAMS[to]:
        raise InputError(f"{path}: {to} is a file; give one that ends in {PROGRAMS[to]}")
    about = {}
    if isinstance(model, Classifier):
        about = {name: json.dumps(getattr(model, name)) for name in ABOUT}
    if to == "onnx":
        for module in ("onnx", "onnxscript"):
            require(module, "export")
        size = sum(4 * weight.numel() for weight in model.state_dict().values())
        if size > LARGEST:
            raise InputError(
                f"an ONNX file holds 2 GB and this model takes {size / 1e9:.1f}; use torch-export"
            )
        _save_onnx(model, path, about)
    else:
        buffer = io.BytesIO()  # torch's own writing to a full disk ends the process
        torch.export.save(traced(model), buffer, extra_files=about)
        with atomic_path(path) as aside:
            aside.write_bytes(buffer.getbuffer())


def traced(model: Encoder | Classifier) -> ExportedProgram:
    """The program of a model, in float32, on the CPU and for any number of clips."""
    example = _example(model)
    model = copy.deepcopy(model).float().cpu().eval()
    return torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))


def _example(model: Encoder | Classifier) -> Tensor:
    encoder = encoder_of(model)
    t, h, w = (count * side for count, side in zip(encoder.grid, encoder.patch, strict=True))
    return torch.zeros(2, 3, h, w) if t == 1 else torch.zeros(2, 3, t, h, w)  # of 1, torch makes a constant


def _save_onnx(model: Encoder | Classifier, path: Path, about: dict[str, str]) -> None:
    program = traced(model)
    is_image = len(program.example_inputs[0][0].shape) == 4
    onnx = torch.onnx.export(
        program,
        input_names=["image" if is_image else "clip"],
        output_names=["logits" if isinstance(model, Classifier) else "tokens"],
        dynamic_shapes=({0: "batch"},),
        verbose=False,
    )
    assert onnx is not None
    onnx.model.metadata_props.update(about)
    with atomic_path(path) as aside:
        onnx.save(aside, external_data=False)
