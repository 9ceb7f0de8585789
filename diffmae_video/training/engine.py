"""DeepSpeed: the engine of a config, one step of it, and its model as a whole."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.distributed import distributed_c10d
from torch.utils.checkpoint import checkpoint

from diffmae_video.errors import InputError
from diffmae_video.runtime.processes import Process, quiet
from diffmae_video.training.state import WEIGHT, loss_scale, model_weights, start_state

NOT_OURS = ("optimizer", "scheduler")  # sections of DeepSpeed's file that TRAIN has in its place


def resolve_precision(precision: str, device: torch.device) -> str:
    """``fp32``, ``bf16`` or ``fp16``; ``auto`` is bf16 where the device computes in it, else fp32.

    Raises:
        InputError: fp16 on a CPU.
    """
    if precision == "fp16" and device.type == "cpu":
        raise InputError("TRAIN.PRECISION fp16: DeepSpeed has none on a CPU; use bf16 or fp32")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    capability = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if capability.get("avx512_bf16") or capability.get("amx_bf16") else "fp32"


def deepspeed_config(cfg: CfgNode, precision: str, world: int) -> dict[str, Any]:
    """DeepSpeed's configuration: the file DEEPSPEED.CONFIG, its ``"auto"`` filled from the other options.

    Raises:
        InputError: the file cannot be read, or says another thing than the other options.
    """
    train = cfg.TRAIN
    micro_batch = train.BATCH_SIZE * cfg.DATA.REPEATS
    ours = {
        "train_batch_size": micro_batch * train.ACCUMULATION * world,
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": train.ACCUMULATION,
        "gradient_clipping": train.CLIP_GRAD,
        # DeepSpeed looks for gradients that are not finite in bf16 too, but at stages 1 and 2 only if told
        "bf16": {"enabled": precision == "bf16", "check_grad_overflow": True},
        "fp16": {"enabled": precision == "fp16"},
        "zero_optimization": {"stage": cfg.DEEPSPEED.ZERO_STAGE},
        "zero_force_ds_cpu_optimizer": False,  # or offload refuses our AdamW
    }
    path = cfg.DEEPSPEED.CONFIG
    try:
        theirs = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError) as error:
        raise InputError(f"DEEPSPEED.CONFIG: {path} is not a JSON file that can be read ({error})") from error
    if not isinstance(theirs, dict):
        raise InputError(f"DEEPSPEED.CONFIG: {path} holds no sections")
    for section in NOT_OURS:
        if section in theirs:
            raise InputError(f"{path}: takes no {section}; it is set by TRAIN in the recipe")
    return {"steps_per_print": 10**12, **_fill(ours, theirs, path)}


def _fill(ours: dict[str, Any], theirs: dict[str, Any], path: str, prefix: str = "") -> dict[str, Any]:
    merged = dict(ours)
    for key, value in theirs.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            mine = ours.get(key, {})
            if not isinstance(mine, dict):
                raise InputError(f"{path}: {name} is a number and not a section")
            merged[key] = _fill(mine, value, path, f"{name}.")
        elif key not in ours:
            if value == "auto":
                raise InputError(f'{path}: {name} is "auto", and no option fills it; give a value')
            merged[key] = value
        elif value not in ("auto", ours[key]):
            raise InputError(
                f"{path}: {name} is {json.dumps(value)}, and the recipe's options make it "
                f'{json.dumps(ours[key])}; change one of them, or write "auto"'
            )
    return merged


def build_engine(
    cfg: CfgNode, model: nn.Module, optimizer: torch.optim.Optimizer, process: Process, precision: str
) -> Any:
    """Wraps a model and its optimizer in a DeepSpeed engine, with the optimizer's state of step 0.

    Args:
        precision: ``fp32``, ``bf16`` or ``fp16``.

    Raises:
        InputError: see :func:`deepspeed_config`.
    """
    config = deepspeed_config(cfg, precision, process.world)
    if cfg.TRAIN.ACTIVATION_CHECKPOINTING:
        checkpoint_activations(model)
    with quiet():
        import deepspeed

        engine, *_ = deepspeed.initialize(model=model.to(process.device), optimizer=optimizer, config=config)
        logging.getLogger("DeepSpeed").setLevel(logging.ERROR)  # we tell of skipped steps ourselves
        if cfg.TRAIN.COMPILE:
            torch._logging.set_logs(dynamo=logging.ERROR)  # or it tells at length of each graph's end
            engine.compile()
    if process.world == 1 and cfg.DEEPSPEED.ZERO_STAGE == 0:
        engine.enable_backward_allreduce = False  # it copies all gradients twice to no end
    # DeepSpeed's groups would wait half an hour. Before torch 2.14 the function was a private one.
    set_timeout = getattr(dist, "set_timeout", distributed_c10d._set_pg_timeout)
    for group in distributed_c10d._world.pg_map:
        set_timeout(timedelta(minutes=cfg.TRAIN.PATIENCE), group)
    start_state(engine, ema=cfg.TRAIN.EMA > 0)
    return engine


def checkpoint_activations(model: nn.Module) -> None:
    """Keeps only what enters each transformer block, and computes the rest again in backward."""
    for module in model.modules():
        for block in getattr(module, "blocks", ()):
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)


class Step(NamedTuple):
    """What became of a step.

    Attributes:
        applied: False if a gradient was not finite; the weights are then as before.
        grad_norm: of the gradient before clipping, over all processes.
    """

    applied: bool
    grad_norm: float


def spread_non_finite(loss: Tensor) -> Tensor:
    """A loss whose gradients are NaN if it is not finite, so that every process sees them and skips."""
    return loss * torch.where(loss.detach().isfinite(), 1.0, torch.nan)


def take_step(engine: Any) -> Step:
    """``engine.step()``, after each backward; a gradient that is not finite changes nothing.

    At the end of an accumulation it reads one number from the device, as DeepSpeed does itself but at
    stage 0 in float32.
    """
    if not engine.is_gradient_accumulation_boundary():
        engine.step()
        return Step(False, math.nan)
    plain = isinstance(engine.optimizer, torch.optim.Optimizer)  # stage 0 in float32: DeepSpeed adds nothing
    if plain:
        gradients = [p.grad for p in engine.module.parameters() if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        engine.optimizer.found_inf = (~norm.isfinite()).float()  # the fused AdamW then leaves all as it is
        engine.step()
        return Step(bool(norm.isfinite()), float(norm))
    engine.step()
    scale = loss_scale(engine).get("cur_scale", 1.0) if not engine.zero_optimization_stage() else 1.0
    return Step(engine.was_step_applied(), float(engine.get_global_grad_norm()) / scale)


@contextlib.contextmanager
def gathered(engine: Any, key: str = WEIGHT) -> Iterator[Any]:
    """The engine's model with whole weights, for any of its methods; all processes must enter.

    Below stage 3 it is the model itself. At stage 3 DeepSpeed gathers a module's weights in its
    ``forward`` alone and lets them go after it: the model is then a copy without that, in the
    engine's own precision, which is dropped on leaving. With the moving average, ``EMA``, it is a copy.
    """
    if key == WEIGHT and engine.zero_optimization_stage() < 3:
        yield engine.module
        return
    copy = type(engine.module)(**engine.module._hub_mixin_config)
    copy.load_state_dict(model_weights(engine, key))
    first = next(engine.module.parameters())
    yield copy.to(first.device, first.dtype).eval()
