"""``load_encoder``: an encoder with the weights of this project, MAE, MAE-ST, VideoMAE, HF or timm.

Weights move between images and videos, and between sizes. All of it happens here, once: what comes
back is a plain :class:`~diffmae_video.models.encoder.Encoder` of the sizes asked for.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffmae_video.errors import InputError
from diffmae_video.models.backbone import Backbone
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.layers import Positions, resample_positions
from diffmae_video.models.pretrained import CONFIG, load_model
from diffmae_video.models.weights.files import Checkpoint, read_checkpoint, read_config
from diffmae_video.models.weights.layouts import Weights, read_weights
from diffmae_video.models.weights.positions import read_positions
from diffmae_video.tokens import Triple

logger = logging.getLogger(__name__)

# ViT-H, g, G and So400m: widths that divide by 64 and whose heads are wider than that all the same.
HEADS_OF_WIDTH = {1152: 16, 1280: 16, 1408: 16, 1664: 16}


@dataclass
class Trained:
    """An encoder as it was trained, before it is fitted to other sizes.

    Attributes:
        kernel: the patch embedding [D, 3, t, p, q].
        positions: of the grid that it was trained on.
        weights: all else, under :class:`~diffmae_video.models.encoder.Encoder`'s keys.
        heads, eps: what no weight tells.
    """

    kernel: Tensor
    positions: Positions
    weights: dict[str, Tensor]
    heads: int
    eps: float


def load_encoder(
    path: str | Path,
    image_size: int | Sequence[int] | None = None,
    num_frames: int | None = None,
    num_heads: int | None = None,
    source: str = "auto",
    eps: float | None = None,
) -> Encoder:
    """The encoder of a file or folder, in evaluation mode: ``encoder(clip)`` is [B, N, D].

    Everything in a file is read, or belongs to a decoder or head (named in one log line, and
    skipped), or is an error. LayerScale is folded into the weights, a class token's own position
    into the token. Files that have a ``fc_norm`` only, and HF's models that pool, get no final
    norm: tokens are then the last block's.

    Sizes other than the trained ones (our choice, where not noted):

    - positions are resampled, bicubic in space (timm) and linear in time. Fixed ones become one
      learned table;
    - image to video (``num_frames`` > 1): the temporal patch is 2 if ``num_frames`` is even and
      else 1; the kernel is divided by it and repeated over time, temporal positions start at zero.
      A still clip then gives exactly the image's embeddings at every time step;
    - video to image (``num_frames=1``): the kernel is summed over time, positions are those of the
      middle of the clip. An image then gives what the video model gives for it as a still clip of
      one patch.

    Args:
        path: .safetensors, a file of ``torch.save`` (bare, or under model, module, model_state or
            state_dict), or a folder with config.json and weights of ours, of HF or of timm.
        image_size: pixels, one number or (height, width). By default what the stored positions say
            (square), or config.json, or 224.
        num_frames: by default what the stored positions or config.json say; 1 for an image's
            model, 16 for a video's. Where a file holds no positions and no config.json is beside
            it (VideoMAE), and for one table over time and space, ``image_size`` and ``num_frames``
            are taken to be the trained ones where that is possible: the encoder takes clips of
            other sizes as they are.
        num_heads: by default config.json's, or width / 64 (16 for the widths of ViT-H, g and G).
        source: ``mae``, ``mae_st``, ``videomae``, ``hf_videomae``, ``timm`` or ``diffmae``; ``auto``
            goes by the keys.
        eps: of the layer norms; by default config.json's, or 1e-12 for HF VideoMAE, else 1e-6.

    Raises:
        InputError: the file is broken, needs more than tensors, or is of no known layout; keys are
            missing or unknown (all are listed); sizes do not divide into patches.
    """
    for name, number in (("num_frames", num_frames), ("num_heads", num_heads), ("eps", eps)):
        if number is not None and not 0 < number < math.inf:
            raise InputError(f"{name} must be above 0, got {number}")
    path = Path(path)
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if size is not None:
        size = (int(size[0]), int(size[1]))
    folder = path if path.is_dir() else path.parent
    if (path.is_dir() or path.name == "model.safetensors") and "model" in read_config(folder):
        trained = _of_this_project(folder, source)
    else:
        checkpoint = read_checkpoint(path)
        weights = read_weights(checkpoint, source)
        _log_skipped(path, weights.skipped)
        trained = _of_a_file(checkpoint, weights, size, num_frames, num_heads)
    trained.heads = num_heads or trained.heads
    trained.eps = trained.eps if eps is None else eps
    try:
        return _build(trained, size, num_frames)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _log_skipped(path: Path, keys: Sequence[str]) -> None:
    if keys:
        modules = Counter(key.split(".")[0] for key in keys)
        names = ", ".join(name if n == 1 else f"{name} ({n} tensors)" for name, n in modules.items())
        logger.warning("%s: skipped, not of the encoder: %s", path, names)


def _of_this_project(folder: Path, source: str) -> Trained:
    """The encoder in the folder of any of our models, which config.json describes in full."""
    if source not in ("auto", "diffmae"):
        raise InputError(f"{folder}: its {CONFIG} is that of diffmae and not of {source}")
    model = load_model(folder)
    encoder = model if isinstance(model, Backbone) else model.recognition_part()
    if not isinstance(encoder, Encoder):
        raise InputError(
            f"{folder}: {type(model).__name__} has no ViT encoder but a {type(encoder).__name__}, which "
            "serves recognition here (tools/finetune.py, probe.py, features.py) and is not converted"
        )
    if encoder is not model:
        _log_skipped(folder, [key for key in model.state_dict() if not key.startswith("encoder.")])
    weights = {
        key: value
        for key, value in encoder.state_dict().items()
        if key != "patch_embed.weight" and not key.startswith("positions.")
    }
    block: Any = encoder.blocks[0]
    kernel = to_kernel(encoder.patch_embed.weight.detach(), encoder.patch)
    return Trained(kernel, encoder.positions, weights, block.attn.num_heads, block.norm1.eps)


def _of_a_file(
    checkpoint: Checkpoint,
    weights: Weights,
    size: tuple[int, int] | None,
    num_frames: int | None,
    num_heads: int | None,
) -> Trained:
    path, config, tensors = checkpoint.path, checkpoint.config, weights.tensors
    if config.get("hidden_act", "gelu") != "gelu":
        raise InputError(
            f"{path}: its {CONFIG} has hidden_act {config['hidden_act']}; only gelu is supported"
        )
    heads = num_heads or config.get("num_attention_heads") or config.get("model_args", {}).get("num_heads")
    heads = heads or HEADS_OF_WIDTH.get(weights.width)
    if heads is None and weights.width % 64:
        raise InputError(
            f"{path}: a width of {weights.width} does not tell the number of heads; give num_heads"
        )
    kernel = tensors["patch.weight"]
    if kernel.ndim == 2:
        kernel = to_kernel(kernel, _patch_of_length(path, kernel.shape[1]))
    elif kernel.ndim == 4:
        kernel = kernel[:, :, None]
    a, p, q = kernel.shape[2:]
    positions, class_position = read_positions(path, config, weights, (a, p, q), size, num_frames)
    eps = config.get("layer_norm_eps", 1e-12) if weights.source == "hf_videomae" else 1e-6
    ours = {"patch_embed.bias": tensors["patch.bias"]}
    ours |= {key: tensors[key] for key in ("norm.weight", "norm.bias") if key in tensors}
    if "cls_token" in tensors:
        ours["cls_token"] = tensors["cls_token"] + class_position
    for i in range(weights.depth):
        start = f"blocks.{i}."
        block = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
        ours |= {start + name: tensor for name, tensor in _block(block).items()}
    return Trained(kernel, positions, ours, heads or weights.width // 64, eps)


def _block(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """A block of any layout to timm's: q, k and v in one matrix, no LayerScale."""
    block = {name: found[name] for name in found if name.split(".")[0] in ("norm1", "norm2", "mlp")}
    block |= {name: found[name] for name in ("attn.proj.weight", "attn.proj.bias")}
    fused = found.get("attn.qkv.weight")
    block["attn.qkv.weight"] = (
        torch.cat([found[f"attn.{name}.weight"] for name in "qkv"]) if fused is None else fused
    )
    zeros = torch.zeros_like(block["attn.proj.bias"])
    fused = found.get("attn.qkv.bias")
    block["attn.qkv.bias"] = (
        torch.cat([found.get(f"attn.{name}.bias", zeros) for name in "qkv"]) if fused is None else fused
    )
    # gamma * (W x + b) = (gamma W) x + gamma b
    for scale, last in (("ls1.gamma", "attn.proj"), ("ls2.gamma", "mlp.fc2")):
        if scale in found:
            block[f"{last}.weight"] = found[scale][:, None] * block[f"{last}.weight"]
            block[f"{last}.bias"] = found[scale] * block[f"{last}.bias"]
    return block


def _patch_of_length(path: Path, length: int) -> Triple:
    """The patch of our own weights without a config.json: square, of one or two frames."""
    for frames in (1, 2):  # no length is both, since 2 is no square
        side = math.isqrt(length // (3 * frames))
        if 3 * frames * side * side == length:
            return frames, side, side
    raise InputError(f"{path}: the patch cannot be told from {length} values; give the folder with {CONFIG}")


def to_kernel(matrix: Tensor, patch: Triple) -> Tensor:
    """Our [D, P] over patches flattened as (t, p, q, c) to a convolution's [D, 3, t, p, q]."""
    return matrix.view(len(matrix), *patch, 3).permute(0, 4, 1, 2, 3)


def _build(trained: Trained, size: tuple[int, int] | None, num_frames: int | None) -> Encoder:
    """Fits what was trained to the sizes asked for."""
    kernel = trained.kernel
    t, h, w = trained.positions.grid
    a, p, q = kernel.shape[2:]
    size = size or (h * p, w * q)
    frames = num_frames or t * a
    if t * a == 1 and frames > 1:  # image to video
        a = 1 if frames % 2 else 2
        kernel = kernel.repeat(1, 1, a, 1, 1) / a
    elif frames == 1 and a > 1:  # video to image
        a = 1
        kernel = kernel.sum(2, keepdim=True)
    for name, pixels, side in (("num_frames", frames, a), ("height", size[0], p), ("width", size[1], q)):
        if pixels < side or pixels % side:
            raise InputError(f"{name} {pixels} is not a multiple of the patch's {side}")
    positions = _resample(trained.positions, (frames // a, size[0] // p, size[1] // q))
    width, hidden = kernel.shape[0], len(trained.weights["blocks.0.mlp.fc1.bias"])
    encoder = Encoder(
        image_size=size,
        num_frames=frames,
        patch=(a, p, q),
        width=width,
        depth=len({key.split(".")[1] for key in trained.weights if key.startswith("blocks.")}),
        heads=trained.heads,
        mlp_ratio=mlp_ratio(width, hidden),
        class_token="cls_token" in trained.weights,
        positions=positions.kind,
        eps=trained.eps,
        final_norm="norm.weight" in trained.weights,
    )
    weights = {"patch_embed.weight": kernel.permute(0, 2, 3, 4, 1).flatten(1), **trained.weights}
    encoder.load_state_dict(weights | positions.state_dict(prefix="positions."))
    return encoder.eval()


@torch.no_grad()
def _resample(old: Positions, grid: Triple) -> Positions:
    """Positions of another grid. Separable ones stay so, others become one table."""
    if grid == old.grid:
        return old
    video, image = grid[0] > 1, old.grid[0] == 1
    if video and (image or old.kind == "learned"):
        new = Positions("learned", grid, old.width)
        new.spatial.copy_(
            resample_positions(old.spatial, (1, *old.grid[1:]), (1, *grid[1:]))
            if old.kind == "learned"
            else old((1, *grid[1:]))[0]
        )
        assert new.temporal is not None
        if image or old.temporal is None:
            new.temporal.zero_()
        else:
            new.temporal.copy_(resample_positions(old.temporal, (old.grid[0], 1, 1), (grid[0], 1, 1)))
    else:
        new = Positions("joint" if video else "learned", grid, old.width)
        (new.joint if video else new.spatial).copy_(old(grid)[0])
    return new


def mlp_ratio(width: int, hidden: int) -> float:
    """The ratio of which ``int(width * ratio)`` is ``hidden``, whatever the rounding."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else (hidden + 0.5) / width
