"""``load_encoder``: an encoder with weights of this project, MAE, MAE-ST, VideoMAE, Hugging Face or timm."""

import logging
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffmae_video.errors import InputError
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.pretrained import CONFIG, load_model
from diffmae_video.models.weights.architecture import Architecture, check_architecture, read_architecture
from diffmae_video.models.weights.encoder_weights import EncoderWeights, read_encoder_weights
from diffmae_video.models.weights.files import own_config, read_checkpoint
from diffmae_video.models.weights.fit_size import TrainedEncoder, build_encoder, to_kernel
from diffmae_video.models.weights.positions import read_positions
from diffmae_video.tokens import Triple

logger = logging.getLogger(__name__)

# The widths of ViT-H, g, G and So400m: divisible by 64, but with wider heads.
HEADS_OF_WIDTH = {1152: 16, 1280: 16, 1408: 16, 1664: 16}


def load_encoder(
    path: str | Path,
    image_size: int | Sequence[int] | None = None,
    num_frames: int | None = None,
    num_heads: int | None = None,
    source: str = "auto",
    eps: float | None = None,
) -> Encoder:
    """Loads an encoder in evaluation mode: ``encoder(clip)`` is [B, N, D].

    Every key of a file is read, or belongs to a decoder or head and is skipped, or is an error. Log lines
    name what was skipped, and a prefix such as ``model.`` or ``backbone.`` that was removed from the keys.
    LayerScale is folded into the weights, and a class token's own position into the token. Files with a
    ``fc_norm`` only, and Hugging Face models that pool, get no final norm: tokens are those of the last
    block.

    Sizes other than the trained ones (our choice, where not noted):

    - positions are resampled, bicubic in space (timm) and linear in time. Fixed ones become one
      learned table;
    - image to video (``num_frames`` > 1): the temporal patch is 2 if ``num_frames`` is even and 1
      otherwise; the kernel is divided by it and repeated over time, and temporal positions start at
      zero. A still clip then gives exactly the image's embeddings at every time step;
    - video to image (``num_frames=1``): the kernel is summed over time, and positions are those of the
      middle of the clip. An image then gives what the video model gives for a still clip of one patch.

    Args:
        path: a .safetensors file, a file of ``torch.save`` (bare, or under model, module, model_state,
            state_dict or another key), a folder with config.json and weights of ours, Hugging Face or timm,
            or any shard or the index.json of a sharded model.
        image_size: pixels, one number or (height, width). The default is that of the stored positions
            (square), or of config.json, or 224.
        num_frames: the default is that of the stored positions or of config.json, or 1 for an image model
            and 16 for a video model. If a file has neither positions nor a config.json (VideoMAE), and for
            one table over time and space, ``image_size`` and ``num_frames`` are taken to be the trained ones
            where possible: the encoder takes clips of other sizes without being told.
        num_heads: the default is that of config.json, or width / 64 (16 for the widths of ViT-H, g and G).
        source: ``mae``, ``mae_st``, ``videomae``, ``hf_videomae``, ``timm`` or ``diffmae``; ``auto``
            goes by the keys.
        eps: of the layer norms; the default is that of config.json, or 1e-12 for Hugging Face's VideoMAE and
            1e-6 otherwise.

    Raises:
        InputError: the file is damaged, holds other objects than tensors, or has no known layout; keys are
            missing or unknown; the config.json beside it describes another model; sizes do not divide into
            patches.
    """
    for name, number in (("num_frames", num_frames), ("num_heads", num_heads), ("eps", eps)):
        if number is not None and not 0 < number < math.inf:
            raise InputError(f"{name} must be above 0, got {number}")
    path, size = Path(path), _size_of(image_size)
    model = own_model(path)
    if model is None:
        trained = _read_file(path, source, size, num_frames, num_heads)
    else:
        trained = trained_encoder(path, model, source)
    return fit_encoder(path, trained, size, num_frames, num_heads, eps)


def own_model(path: str | Path) -> Any:
    """The model at a path if it is one of ours, a folder or its model.safetensors; None for other weights.

    Errors are those of :func:`~diffmae_video.models.pretrained.load_model`.
    """
    path = Path(path)
    if "model" not in own_config(path):
        return None
    return load_model(path if path.is_dir() else path.parent, averaged=False)


def fit_encoder(
    path: str | Path,
    trained: TrainedEncoder,
    image_size: int | Sequence[int] | None,
    num_frames: int | None,
    num_heads: int | None,
    eps: float | None = None,
) -> Encoder:
    """A trained encoder for clips of the requested sizes; arguments and errors as of :func:`load_encoder`."""
    trained.heads = num_heads or trained.heads
    trained.eps = trained.eps if eps is None else eps
    try:
        return build_encoder(trained, _size_of(image_size), num_frames)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _size_of(image_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    if image_size is None:
        return None
    return (
        (image_size, image_size) if isinstance(image_size, int) else (int(image_size[0]), int(image_size[1]))
    )


def _log_skipped(path: Path, modules: Counter[str]) -> None:
    if modules:
        names = ", ".join(name if n == 1 else f"{name} ({n} tensors)" for name, n in modules.items())
        logger.warning("%s: skipped, not part of the encoder: %s", path, names)


def trained_encoder(path: str | Path, model: Any, source: str = "auto") -> TrainedEncoder:
    """The encoder of any of our models.

    Args:
        path: where the model is from, for messages.
        source: as of :func:`load_encoder`.

    Raises:
        InputError: the source is another project, or the model's backbone is not a ViT.
    """
    if source not in ("auto", "diffmae"):
        raise InputError(f"{path}: its {CONFIG} is that of a diffmae model and not of {source}")
    encoder = model.backbone()
    if not isinstance(encoder, Encoder):
        raise InputError(
            f"{path}: the {type(encoder).__name__} of a {type(model).__name__} is not a ViT and cannot be "
            "converted; use it with diffmae finetune, probe or features"
        )
    if encoder is not model:
        others = (key for key in model.state_dict() if not key.startswith("encoder."))
        _log_skipped(Path(path), Counter(key.split(".")[0] for key in others))
    weights = {
        key: value
        for key, value in encoder.state_dict().items()
        if key != "patch_embed.weight" and not key.startswith("positions.")
    }
    block: Any = encoder.blocks[0]
    kernel = to_kernel(encoder.patch_embed.weight.detach(), encoder.patch)
    return TrainedEncoder(
        kernel,
        encoder.positions,
        weights,
        block.attn.num_heads,
        block.norm1.eps,
        encoder.block,
        encoder.qk_norm,
    )


def _read_file(
    path: Path, source: str, size: tuple[int, int] | None, num_frames: int | None, num_heads: int | None
) -> TrainedEncoder:
    """The encoder in a file or folder of another project, or in bare weights of ours."""
    checkpoint = read_checkpoint(path)
    architecture = read_architecture(checkpoint.config)
    weights = read_encoder_weights(checkpoint, source, architecture.final_norm)
    check_architecture(path, architecture, weights.depth, weights.width, weights.mlp_width)
    _log_skipped(path, weights.skipped)
    tensors = weights.tensors
    kernel = tensors["patch.weight"]
    if kernel.ndim == 2:
        kernel = to_kernel(kernel, _patch_of_length(path, kernel.shape[1]))
    elif kernel.ndim == 4:
        kernel = kernel[:, :, None]
    a, p, q = kernel.shape[2:]
    positions, class_position = read_positions(path, architecture, weights, (a, p, q), size, num_frames)
    ours = {"patch_embed.bias": tensors["patch.bias"]}
    ours |= {key: tensors[key] for key in ("norm.weight", "norm.bias") if key in tensors}
    if "cls_token" in tensors:
        ours["cls_token"] = tensors["cls_token"] + class_position
    for i in range(weights.depth):
        start = f"blocks.{i}."
        block = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
        ours |= {start + name: tensor for name, tensor in _to_timm_block(block).items()}
    heads = num_heads or _heads(path, architecture, weights)
    eps = architecture.eps or (1e-12 if weights.source == "hf_videomae" else 1e-6)
    return TrainedEncoder(kernel, positions, ours, heads, eps)


def _heads(path: Path, architecture: Architecture, weights: EncoderWeights) -> int:
    """The number of heads: config.json's, or by the width.

    Raises:
        InputError: the width does not tell it.
    """
    heads = architecture.heads or HEADS_OF_WIDTH.get(weights.width)
    if heads is None and weights.width % 64:
        raise InputError(
            f"{path}: a width of {weights.width} does not tell the number of heads; give num_heads"
        )
    return heads or weights.width // 64


def _to_timm_block(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A block of any layout to timm's: q, k and v in one matrix, no LayerScale."""
    block = {name: tensors[name] for name in tensors if name.split(".")[0] in ("norm1", "norm2", "mlp")}
    block |= {name: tensors[name] for name in ("attn.proj.weight", "attn.proj.bias")}
    fused = tensors.get("attn.qkv.weight")
    block["attn.qkv.weight"] = (
        torch.cat([tensors[f"attn.{name}.weight"] for name in "qkv"]) if fused is None else fused
    )
    zeros = torch.zeros_like(block["attn.proj.bias"])
    fused = tensors.get("attn.qkv.bias")
    block["attn.qkv.bias"] = (
        torch.cat([tensors.get(f"attn.{name}.bias", zeros) for name in "qkv"]) if fused is None else fused
    )
    # gamma * (W x + b) = (gamma W) x + gamma b
    for scale, last in (("ls1.gamma", "attn.proj"), ("ls2.gamma", "mlp.fc2")):
        if scale in tensors:
            block[f"{last}.weight"] = tensors[scale][:, None] * block[f"{last}.weight"]
            block[f"{last}.bias"] = tensors[scale] * block[f"{last}.bias"]
    return block


def _patch_of_length(path: Path, length: int) -> Triple:
    """The patch of our own weights without a config.json: square, of one or two frames."""
    for frames in (1, 2):  # no length fits both, since 2 is not a square
        side = math.isqrt(length // (3 * frames))
        if 3 * frames * side * side == length:
            return frames, side, side
    raise InputError(
        f"{path}: {length} values do not tell the shape of a patch; give the folder with {CONFIG}"
    )
