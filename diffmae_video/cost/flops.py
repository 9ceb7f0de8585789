"""What a model costs: its parameters, and the multiply-accumulates of a forward.

As in fvcore, a multiply-accumulate counts 1 (elsewhere it counts 2). Only matrix products count, not
norms, activations and sums. Nothing is computed: the model is traced on the meta device, where tensors
have shapes but no values, so that ViT-H takes less than a second.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.models import PretrainingModel


@dataclass(frozen=True)
class Cost:
    """The cost of one training clip."""

    parameters: int  # of the encoder and the decoder
    # encoder_macs, decoder_macs: multiply-accumulates of one forward, in the encoder and in the rest; a
    # training step costs about three forwards
    encoder_macs: int
    decoder_macs: int

    @property
    def macs(self) -> int:
        return self.encoder_macs + self.decoder_macs

    def __str__(self) -> str:
        """The line that recipes state, after ``# Cost: ``."""
        return (
            f"{self.parameters / 1e6:.1f} M parameters, "
            f"{self.macs / 1e9:.1f} GFLOPs (multiply-accumulates) per clip forward"
        )


def training_cost(model: PretrainingModel) -> Cost:
    """The cost of one training forward, for one clip of the model's own size at the model's own mask.

    Args:
        model: on the meta device, see :func:`~diffmae_video.build.meta_model`; put into training mode.

    Raises:
        InputError: the mask does not fit the clips.
    """
    model.train()
    mask = None if model.mask is None else Mask.draw(batch=1, grid=model.grid, **model.mask).to("meta")
    macs = macs_by_module(model, torch.empty(1, 3, *model.clip_size, device="meta"), mask)
    parameters = sum(p.numel() for p in model.parameters())
    encoder = macs.get("encoder", macs[""] - macs.get("decoder", 0))  # ADM's encoder is called in parts
    return Cost(parameters, encoder, macs[""] - encoder)


def count_macs(model: nn.Module, *inputs: Any) -> int:
    """The multiply-accumulates of ``model(*inputs)``; see :func:`macs_by_module`."""
    return macs_by_module(model, *inputs)[""]


def macs_by_module(model: nn.Module, *inputs: Any) -> dict[str, int]:
    """The multiply-accumulates of ``model(*inputs)`` by module name; "" is the whole model.

    A module's number includes that of its children, wherever they are called from.

    Args:
        model: in the mode, training or evaluation, that is to be counted.
        inputs: tensors on the model's device, and other arguments.

    Raises:
        InputError: no handle counts one of the model's matrix products.
    """
    if any(isinstance(module, nn.Conv2d) for module in model.modules()):
        return _macs_of_convolutions(model, *inputs)
    with warnings.catch_warnings():  # importing fvcore.nn calls a deprecated function
        warnings.simplefilter("ignore", FutureWarning)
        from fvcore.nn import FlopCountAnalysis, jit_handles

    handles: dict[str, Callable[..., Any]] = {
        "aten::linear": jit_handles.linear_flop_jit,
        "aten::addmm": jit_handles.addmm_flop_jit,
        "aten::mm": jit_handles.matmul_flop_jit,
        "aten::matmul": jit_handles.matmul_flop_jit,
        "aten::bmm": jit_handles.bmm_flop_jit,
        "aten::einsum": jit_handles.einsum_flop_jit,
        "aten::_convolution": jit_handles.conv_flop_jit,
        "aten::scaled_dot_product_attention": attention_macs,  # fvcore would count 0
    }
    tensors = tuple(x for x in inputs if isinstance(x, Tensor))
    analysis = FlopCountAnalysis(_TensorsOnly(model, inputs), tensors)
    analysis.clear_op_handles().set_op_handle(**handles)
    analysis.ancestor_mode("owner").tracer_warnings("none")
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with torch.no_grad():
        counts = analysis.by_module()
    missed = [op for op in analysis.unsupported_ops() if any(word in op for word in PRODUCTS)]
    if missed:
        raise InputError(f"no handle counts {', '.join(missed)}")
    prefix = "model."
    by_name = {name.removeprefix(prefix): int(n) for name, n in counts.items() if name.startswith(prefix)}
    return {"": int(counts[""]), **by_name}


def _macs_of_convolutions(model: nn.Module, *inputs: Any) -> dict[str, int]:
    """:func:`macs_by_module` by torch's counter, since fvcore cannot trace convolutions on the meta device.

    A module's number leaves out children that are called from elsewhere.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*inputs)
    prefix = f"{type(model).__name__}."
    by_name = {name.removeprefix(prefix): sum(n.values()) // 2 for name, n in counter.flop_counts.items()}
    return {**by_name, "": by_name["Global"]}


# Parts of the names of operators that multiply matrices.
PRODUCTS = ("mm", "matmul", "dot", "attention", "conv", "einsum", "lstm", "gru", "rnn")


def attention_macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """fvcore's handle of ``aten::scaled_dot_product_attention``: q @ k^T and attention @ v.

    Shapes: q [..., L, E], k [..., S, E], v [..., S, Ev]. Products that an attention mask hides count too.
    """
    q, k, v = (value.type().sizes() for value in inputs[:3])
    return math.prod(q[:-1]) * k[-2] * (q[-1] + v[-1])


class _TensorsOnly(nn.Module):
    """A model for the tracer: tensors in, tensors out, all other inputs bound."""

    def __init__(self, model: nn.Module, inputs: Sequence[Any]) -> None:
        super().__init__()
        self.model, self.inputs = model, inputs

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        traced = iter(tensors)
        output = self.model(*(next(traced) if isinstance(x, Tensor) else x for x in self.inputs))
        return tuple(x for x in tree_leaves(output) if isinstance(x, Tensor))
