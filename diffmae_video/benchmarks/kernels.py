"""The speed of a model's parts alone: matrix products, attention, rotary positions, the timestep."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from diffmae_video.benchmarks.figure_log import FigureLog
from diffmae_video.benchmarks.steps import clips_per_step, dtype_of
from diffmae_video.benchmarks.timing import matmul_flops, median_seconds
from diffmae_video.benchmarks.training import layer_shapes
from diffmae_video.build import build_model, meta_model
from diffmae_video.masks import Mask
from diffmae_video.models.layers import TimestepEmbedding, attention
from diffmae_video.models.rotary import rotate, rotation_of, token_places

BACKENDS = (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION)


def kernel_rows(log: FigureLog, cfg: CfgNode, device: torch.device) -> None:
    """Measures the parts of a config's model at the sizes that a training step has."""
    _linear_rows(log, cfg, device)
    _attention_rows(log, cfg, device)
    _rotation_rows(log, cfg, device)
    _timestep_rows(log, cfg, device)


def _linear_rows(log: FigureLog, cfg: CfgNode, device: torch.device) -> None:
    for shape in layer_shapes(cfg)[1:]:
        m, k, n = shape

        def figures(shape: tuple[int, int, int] = shape) -> dict[str, Any]:
            return {"tflops": _tflops(matmul_flops([shape], dtype_of(cfg), device))}

        log.measure("linear", device, figures, m=m, k=k, n=n)


def _attention_rows(log: FigureLog, cfg: CfgNode, device: torch.device) -> None:
    """Attention with each backend; "ours" is the choice of the model's own layers."""
    clips = clips_per_step(cfg)
    for name, heads, width, queries, keys in _attentions(cfg):
        for backend in (None, *(BACKENDS if device.type == "cuda" else ())):
            log.measure(
                "attention",
                device,
                partial(_attention, (clips, heads, queries, keys, width), backend, dtype_of(cfg), device),
                where=name,
                backend="ours" if backend is None else backend.name,
            )


def _attentions(cfg: CfgNode) -> Iterator[tuple[str, int, int, int, int]]:
    """The name, heads, head width, queries and keys of each kind of attention in a model."""
    model: Any = meta_model(cfg)
    mask = Mask.draw(batch=1, grid=model.grid, **model.mask)
    visible, masked = mask.visible.shape[1], mask.masked.shape[1]
    heads = model.encoder.blocks[0].attn.num_heads
    yield "encoder", heads, model.encoder.width // heads, visible, visible
    heads, width = cfg.MODEL.DECODER.HEADS, model.decoder.head.in_features // cfg.MODEL.DECODER.HEADS
    yield "decoder, cross", heads, width, masked, visible
    yield "decoder, self", heads, width, masked, masked


def _attention(
    shape: tuple[int, int, int, int, int],
    backend: SDPBackend | None,
    dtype: torch.dtype,
    device: torch.device,
) -> dict[str, Any]:
    clips, heads, queries, keys, width = shape

    def draw(tokens: int) -> Tensor:  # as the layers lay them out in memory
        x = torch.randn(clips, tokens, heads, width, device=device, dtype=dtype)
        return x.transpose(1, 2).requires_grad_()

    q, k, v = draw(queries), draw(keys), draw(keys)
    gradient = torch.randn_like(q)
    with contextlib.nullcontext() if backend is None else sdpa_kernel(backend):
        both = _seconds(lambda: torch.autograd.grad(attention(q, k, v), (q, k, v), gradient), device)
        with torch.no_grad():
            forward = _seconds(lambda: attention(q, k, v), device)
    flops = 4 * clips * heads * queries * keys * width
    return {
        "queries": queries,
        "keys": keys,
        "forward_ms": _ms(forward),
        "both_ms": _ms(both),
        "forward_tflops": _tflops(flops / forward),
    }


def _rotation_rows(log: FigureLog, cfg: CfgNode, device: torch.device) -> None:
    """Rotary positions: the angles of a batch's tokens, and turning the queries of one layer by them."""
    clips = clips_per_step(cfg)
    for name, heads, width, tokens, _ in _attentions(cfg):
        if name == "decoder, cross":  # has the masked tokens' queries, as "decoder, self"
            continue

        def figures(heads: int = heads, width: int = width, tokens: int = tokens) -> dict[str, Any]:
            places = token_places((1, 1, tokens), device=device).expand(clips, -1, -1)
            rotation = rotation_of(places, width)
            x = torch.randn(clips, tokens, heads, width, device=device, dtype=dtype_of(cfg)).transpose(1, 2)
            x.requires_grad_()
            gradient = torch.randn_like(x)
            angles = _seconds(lambda: rotation_of(places, width), device)
            both = _seconds(lambda: torch.autograd.grad(rotate(x, rotation), x, gradient), device)
            return {"tokens": tokens, "angles_ms": _ms(angles), "turn_both_ms": _ms(both)}

        log.measure("rotation", device, figures, where=name)


def _timestep_rows(log: FigureLog, cfg: CfgNode, device: torch.device) -> None:
    """The features of a batch's timesteps, forward and backward, with one for each clip or each token."""
    model: Any = build_model(cfg)
    clips, width = clips_per_step(cfg), model.decoder.head.in_features
    masked = Mask.draw(batch=1, grid=model.grid, **model.mask).masked.shape[1]
    for name, shape in (("clip", (clips,)), ("token", (clips, masked))):

        def figures(shape: tuple[int, ...] = shape) -> dict[str, Any]:
            embedding = TimestepEmbedding(width, model.timesteps or 1000).to(device, dtype_of(cfg))
            t = torch.randint(1, embedding.timesteps + 1, shape, device=device)
            return {"both_ms": _ms(_seconds(lambda: embedding(t).sum().backward(), device))}

        log.measure("timestep", device, figures, one_for_each=name)


def _seconds(run: Callable[[], Any], device: torch.device) -> float:
    return median_seconds(run, device, repeats=1 if device.type == "cpu" else 10)


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 3)


def _tflops(flops: float) -> float:
    return round(flops / 1e12, 3)
