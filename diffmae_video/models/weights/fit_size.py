"""Fits a trained encoder to clips or images of other sizes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffmae_video.errors import InputError
from diffmae_video.models.block_kinds import ratio_of
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.layers import Positions, resample_positions
from diffmae_video.tokens import Triple


@dataclass
class TrainedEncoder:
    """An encoder's weights for the sizes that it was trained on."""

    kernel: Tensor  # the patch embedding [D, 3, t, p, q]
    positions: Positions  # of the trained grid
    weights: dict[str, Tensor]  # all others, under Encoder's keys
    # heads, eps: of attention and of the norms; weights do not tell them
    heads: int
    eps: float
    # block, qk_norm: see ViTBlock
    block: str = "vit"
    qk_norm: bool = False


def build_encoder(trained: TrainedEncoder, size: tuple[int, int] | None, num_frames: int | None) -> Encoder:
    """The encoder for clips of the requested sizes, in evaluation mode.

    Args:
        size: (height, width) in pixels; None keeps the trained one.
        num_frames: frames of a clip, 1 for images; None keeps the trained number.

    Raises:
        InputError: a size is not a multiple of the patch's.
    """
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
    width, mlp_width = kernel.shape[0], trained.weights["blocks.0.mlp.fc2.weight"].shape[1]
    encoder = Encoder(
        image_size=size,
        num_frames=frames,
        patch=(a, p, q),
        width=width,
        depth=len({key.split(".")[1] for key in trained.weights if key.startswith("blocks.")}),
        heads=trained.heads,
        mlp_ratio=ratio_of(trained.block, width, mlp_width),
        class_token="cls_token" in trained.weights,
        positions=positions.kind,
        eps=trained.eps,
        final_norm="norm.weight" in trained.weights,
        block=trained.block,
        qk_norm=trained.qk_norm,
    )
    weights = {"patch_embed.weight": to_matrix(kernel), **trained.weights}
    encoder.load_state_dict(weights | positions.state_dict(prefix="positions."))
    return encoder.eval()


@torch.no_grad()
def _resample(old: Positions, grid: Triple) -> Positions:
    """Positions of another grid: separable ones stay separable, others become one table."""
    if grid == old.grid:
        return old
    if old.kind == "rope":
        return Positions("rope", grid, old.width, old.head_width)
    video, image = grid[0] > 1, old.grid[0] == 1
    if not video or (old.kind != "learned" and not image):
        new = Positions("joint" if video else "learned", grid, old.width)
        (new.joint if video else new.spatial).copy_(old(grid)[0])
        return new
    new = Positions("learned", grid, old.width)
    if old.kind == "learned":
        new.spatial.copy_(resample_positions(old.spatial, (1, *old.grid[1:]), (1, *grid[1:])))
    else:
        new.spatial.copy_(old((1, *grid[1:]))[0])
    assert new.temporal is not None
    if image or old.temporal is None:
        new.temporal.zero_()
    else:
        new.temporal.copy_(resample_positions(old.temporal, (old.grid[0], 1, 1), (grid[0], 1, 1)))
    return new


def to_kernel(matrix: Tensor, patch: Triple) -> Tensor:
    """Our [D, P] over patches flattened as (t, p, q, c) to a convolution's [D, 3, t, p, q]."""
    return matrix.view(len(matrix), *patch, 3).permute(0, 4, 1, 2, 3)


def to_matrix(kernel: Tensor) -> Tensor:
    """The inverse of :func:`to_kernel`."""
    return kernel.permute(0, 2, 3, 4, 1).flatten(1)
