"""Weights, moments and moving average of each parameter, whole and by name, however DeepSpeed splits them.

A parameter has a ``weight`` in float32, AdamW's ``exp_avg`` and ``exp_avg_sq`` or Muon's ``momentum_buffer``,
and with a moving average an ``ema``. DeepSpeed keeps them

- at stage 0 in float32: with the model's own parameters;
- at stage 0 in fp16, and we at stage 0 in bf16 (:mod:`diffmae_video.training.float32_masters`): with a
  float32 copy of each parameter;
- at stages 1 and 2: in one flat piece per process, cut from all parameters in a row;
- at stage 3: in flat pieces of each parameter, padded to the same length.

The moving average is kept beside the moments, so it is split and gathered as they are. Muon works at stage 0
only.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from diffmae_video.training.muon import MOMENTUM

WEIGHT, EMA = "weight", "ema"
MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW
SCALER = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")  # of fp16's loss scale


def start_state(engine: Any, ema: bool) -> None:
    """Gives the optimizer its state of step 0, with a moving average if ``ema`` is set.

    DeepSpeed leaves that to the first step, except at stage 0 in fp16, where it has taken an empty step
    that would count in AdamW's bias correction.
    """
    matrices = {p for group in engine.basic_optimizer.param_groups if group["muon"] for p in group["params"]}
    for master in _masters(engine):
        keys = (MOMENTUM,) if master in matrices else MOMENTS
        state = {key: torch.zeros_like(master, requires_grad=False) for key in keys}
        if master not in matrices:
            state["step"] = torch.zeros((), dtype=torch.float32, device=master.device)
        if ema:
            state[EMA] = master.detach().clone()
        engine.basic_optimizer.state[master] = state
    link = getattr(engine.optimizer, "_lazy_init_hp_params_optimizer_state", None)
    if link is not None:
        link()


@torch.no_grad()
def update_ema(engine: Any, decay: float) -> None:
    """Moves the average towards the weights by 1 - decay."""
    masters = _masters(engine)
    averages = [engine.basic_optimizer.state[master][EMA] for master in masters]
    torch._foreach_lerp_(averages, masters, 1 - decay)


def gather(engine: Any, key: str, keep: bool = True) -> Iterator[tuple[str, Tensor]]:
    """Yields each trained parameter's name and whole value, float32 on the CPU, on all processes at once.

    Leaves out parameters without the key: AdamW's moments of Muon's matrices, and Muon's of the others.

    Args:
        keep: False in a process that only takes part, and copies and yields nothing.
    """
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    whole = _whole_masters(engine)
    for name, parameter in _trained(engine):
        if parameter in whole:
            master = whole[parameter]
            if key not in (WEIGHT, *engine.basic_optimizer.state[master]):
                continue
            value = master if key == WEIGHT else engine.basic_optimizer.state[master][key]
        elif key == WEIGHT:
            value = safe_get_full_fp32_param(parameter)
        else:
            value = safe_get_full_optimizer_state(parameter, key)
        if not keep:
            continue
        value = value.detach().to("cpu", torch.float32, copy=True)  # at stage 0 the value is the engine's own
        yield name, value.view(getattr(parameter, "ds_shape", parameter.shape))


def untrained(engine: Any) -> dict[str, Tensor]:
    """A model's frozen weights and buffers, float32 on the CPU; all processes must call it."""
    import deepspeed

    trained = {name for name, p in engine.module.named_parameters() if p.requires_grad}
    frozen = [p for p in engine.module.parameters() if not p.requires_grad]
    split = bool(frozen) and engine.zero_optimization_stage() == 3
    with deepspeed.zero.GatheredParameters(frozen, enabled=split):
        state = engine.module.state_dict()
        return {k: v.float().cpu().clone() for k, v in state.items() if k not in trained}


def model_weights(engine: Any, key: str = WEIGHT) -> dict[str, Tensor]:
    """The float32 state dict of an engine's model or of its average; all processes must call it."""
    return untrained(engine) | dict(gather(engine, key))


def scatter(engine: Any, key: str, value_of: Callable[[str], Tensor]) -> None:
    """Sets each trained parameter, or this process's part of it, to its whole value by name.

    Leaves out the parameters that :func:`gather` leaves out.
    """
    from deepspeed import utils

    whole = _whole_masters(engine)
    for name, parameter in _trained(engine):
        if parameter in whole and key not in (WEIGHT, *engine.basic_optimizer.state[whole[parameter]]):
            continue
        value = value_of(name).float()
        if parameter in whole:
            master = whole[parameter]
            target = master if key == WEIGHT else engine.basic_optimizer.state[master][key]
            target.data.copy_(value)
        elif hasattr(parameter, "ds_tensor"):
            # Set the local piece: DeepSpeed's setter of whole values fails on padded parameters.
            length, rank = parameter.ds_tensor.numel(), dist.get_rank()
            padded = F.pad(value.flatten(), (0, length * dist.get_world_size() - value.numel()))
            piece = padded[length * rank : length * (rank + 1)]
            if key == WEIGHT:
                utils.safe_set_local_fp32_param(parameter, piece)
            else:
                utils.safe_set_local_optimizer_state(parameter, piece, key)
        elif key == WEIGHT:
            utils.safe_set_full_fp32_param(parameter, value)
        else:
            utils.safe_set_full_optimizer_state(parameter, value, key)


def adam_steps(engine: Any) -> int:
    """Steps that AdamW has taken, without skipped ones."""
    return int(next(state["step"] for state in _states(engine) if "step" in state))


def set_adam_steps(engine: Any, steps: int) -> None:
    for state in _states(engine):
        if "step" in state:
            state["step"].fill_(steps)


def _states(engine: Any) -> list[dict[str, Tensor]]:
    return [engine.basic_optimizer.state[master] for master in _masters(engine)]


def loss_scale(engine: Any) -> dict[str, float]:
    """The state of fp16's dynamic loss scale; empty for other precisions."""
    scaler = _scaler(engine)
    return {key: getattr(scaler, key) for key in SCALER if hasattr(scaler, key)} if scaler else {}


def set_loss_scale(engine: Any, values: dict[str, float]) -> None:
    """Sets those values of the loss scale that exist at this ZeRO stage."""
    scaler = _scaler(engine)
    for key, value in values.items():
        if scaler and hasattr(scaler, key):
            setattr(scaler, key, value)


def _scaler(engine: Any) -> Any:
    if not engine.fp16_enabled():
        return None
    stage_0 = getattr(engine.optimizer, "loss_scale_config", None)
    return stage_0 or engine.optimizer.loss_scaler


def _trained(engine: Any) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, p) for name, p in engine.module.named_parameters() if p.requires_grad)


def _masters(engine: Any) -> list[Tensor]:
    """The float32 tensors that AdamW updates in this process."""
    pieces: list[Tensor] | None = getattr(engine.optimizer, "fp32_partitioned_groups_flat", None)  # stage 3
    if pieces is not None:
        return pieces
    return [p for group in engine.basic_optimizer.param_groups for p in group["params"]]


def _whole_masters(engine: Any) -> dict[nn.Parameter, Tensor]:
    """At stage 0 the tensor that AdamW updates for each parameter; otherwise empty."""
    if engine.zero_optimization_stage():
        return {}
    if engine.masters is not None:
        return dict(engine.masters.of)
    optimizer = engine.optimizer
    if hasattr(optimizer, "fp32_groups"):
        return dict(zip(chain(*optimizer.fp16_groups), chain(*optimizer.fp32_groups), strict=True))
    return {parameter: parameter for _, parameter in _trained(engine)}
