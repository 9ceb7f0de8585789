"""DeepSpeed: the engine of a run, one step of it, and its model as a whole."""

import contextlib
import functools
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import distributed_c10d
from torch.utils._triton import has_triton
from torch.utils.checkpoint import checkpoint

from diffmae_video.errors import InputError
from diffmae_video.models import PretrainingModel
from diffmae_video.runtime.processes import Process, quiet
from diffmae_video.training.float32_masters import Float32Masters
from diffmae_video.training.muon import MuonAdamW
from diffmae_video.training.sharded_state import WEIGHT, loss_scale, model_weights, start_state

COMPILED_STEPS = 10_000  # shorter runs are not compiled by TRAIN.COMPILE auto (our choice)
RESERVED_SECTIONS = ("optimizer", "scheduler")  # of DeepSpeed's file: TRAIN sets them
DEEPSPEED_DEFAULTS = {  # where its file says nothing
    "steps_per_print": 10**12,
    "timers": {"throughput": {"enabled": False}},  # it waits for the device in every forward pass
}


@dataclass(frozen=True)
class EngineOptions:
    """How a model is trained by DeepSpeed."""

    precision: str  # fp32, bf16 or fp16
    micro_batch: int  # clips per process and forward pass
    accumulation: int  # forward passes per optimizer step
    clip_grad: float  # largest norm of the gradient; 0 does not clip
    reduce_in_float32: bool  # gradients are summed over the processes in float32, whatever their precision
    zero_stage: int  # 0 to 3
    deepspeed_file: str  # a JSON file of further DeepSpeed options; empty: none
    has_ema: bool  # keeps a moving average of the weights
    checkpoint_activations: bool  # recomputes blocks in the backward pass
    compile: bool  # compiles what a training step computes, see compile_training
    patience: float  # minutes that a process waits for another one


def resolve_precision(precision: str, device: torch.device) -> str:
    """``fp32``, ``bf16`` or ``fp16``; ``auto`` is bf16 where the device computes in it, otherwise fp32.

    Raises:
        InputError: fp16 on a CPU.
    """
    if precision == "fp16" and device.type == "cpu":
        raise InputError("TRAIN.PRECISION fp16: DeepSpeed does not support it on a CPU; use bf16 or fp32")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    capability = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if capability.get("avx512_bf16") or capability.get("amx_bf16") else "fp32"


def resolve_compile(choice: str, device: torch.device, steps: int, zero_stage: int) -> bool:
    """Whether a run compiles its training step; ``choice`` is TRAIN.COMPILE.

    ``auto`` compiles on a GPU, in runs long enough to make up for the minute that compiling takes, and not at
    stage 3, where DeepSpeed gathers weights between the layers. It needs Triton and a C compiler.

    Args:
        steps: of the run.
    """
    if choice != "auto":
        return choice == "true"
    if device.type != "cuda" or steps < COMPILED_STEPS or zero_stage == 3 or not has_triton():
        return False
    return any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang"))


def deepspeed_config(options: EngineOptions, world: int) -> dict[str, Any]:
    """DeepSpeed's configuration: its file, with ``"auto"`` filled from our options.

    Args:
        world: processes of the run.

    Raises:
        InputError: the file cannot be read, or contradicts our options.
    """
    ours = {
        "train_batch_size": options.micro_batch * options.accumulation * world,
        "train_micro_batch_size_per_gpu": options.micro_batch,
        "gradient_accumulation_steps": options.accumulation,
        "gradient_clipping": options.clip_grad,
        "bf16": {"enabled": options.precision == "bf16"},
        "fp16": {"enabled": options.precision == "fp16"},
        "zero_optimization": {"stage": options.zero_stage},
        "zero_force_ds_cpu_optimizer": False,  # otherwise offloading refuses our AdamW
    }
    if options.reduce_in_float32:
        ours["communication_data_type"] = "fp32"
    path = options.deepspeed_file
    try:
        theirs = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError) as error:
        raise InputError(f"DEEPSPEED.CONFIG: {path} is not a readable JSON file ({error})") from error
    if not isinstance(theirs, dict):
        raise InputError(f"DEEPSPEED.CONFIG: {path} must hold a JSON object of sections")
    for section in RESERVED_SECTIONS:
        if section in theirs:
            raise InputError(f"{path}: remove the section {section}; TRAIN sets it in the recipe")
    return {**DEEPSPEED_DEFAULTS, **_fill(ours, theirs, path)}


def _fill(ours: dict[str, Any], theirs: dict[str, Any], path: str, prefix: str = "") -> dict[str, Any]:
    merged = dict(ours)
    for key, value in theirs.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            mine = ours.get(key, {})
            if not isinstance(mine, dict):
                raise InputError(f"{path}: {name} must be a number, not a section")
            merged[key] = _fill(mine, value, path, f"{name}.")
        elif key not in ours:
            if value == "auto":
                raise InputError(f'{path}: {name} is "auto", but no option fills it; give a value')
            merged[key] = value
        elif value not in ("auto", ours[key]):
            raise InputError(
                f"{path}: {name} is {json.dumps(value)}, and the recipe's options make it "
                f'{json.dumps(ours[key])}; change one of them, or write "auto"'
            )
    return merged


def build_engine(
    model: nn.Module, optimizer: torch.optim.Optimizer, process: Process, options: EngineOptions
) -> Any:
    """Wraps a model and its optimizer in a DeepSpeed engine, with the optimizer's state of step 0.

    Raises:
        InputError: see :func:`deepspeed_config`; or Muon with weights that are split over processes.
    """
    if isinstance(optimizer, MuonAdamW) and options.zero_stage:
        raise InputError(
            f"TRAIN.OPTIMIZER muon: DEEPSPEED.ZERO_STAGE {options.zero_stage} flattens and splits the "
            "matrices that Muon needs whole; set DEEPSPEED.ZERO_STAGE 0, or TRAIN.OPTIMIZER adamw"
        )
    config = deepspeed_config(options, process.world)
    has_masters = options.precision == "bf16" and options.zero_stage == 0
    if has_masters:  # DeepSpeed sees a run in float32
        config |= {"bf16": {"enabled": False}, "gradient_clipping": 0.0}
    elif options.precision == "bf16":
        # DeepSpeed's own search for gradients that are not finite takes eight operations for each parameter.
        is_offloaded = "offload_optimizer" in config["zero_optimization"]
        config["bf16"]["check_grad_overflow"] = options.zero_stage == 3 or is_offloaded
    if options.checkpoint_activations:
        checkpoint_activations(model)
    with quiet():
        import deepspeed

        engine, *_ = deepspeed.initialize(model=model.to(process.device), optimizer=optimizer, config=config)
        logging.getLogger("DeepSpeed").setLevel(logging.ERROR)  # we report skipped steps ourselves
    if options.compile:
        compile_training(engine.module)
    if has_masters or (process.world == 1 and options.zero_stage == 0):
        engine.enable_backward_allreduce = False  # on one process it would copy all gradients for nothing
    engine.masters = None
    if has_masters:
        reduce_in = torch.float32 if options.reduce_in_float32 else torch.bfloat16
        engine.masters = Float32Masters(engine.module, optimizer, reduce_in)
    engine.clip_norm = options.clip_grad
    engine.checks_gradients = not config["bf16"].get("check_grad_overflow", True)
    # DeepSpeed's groups would wait for half an hour. Before torch 2.14 the function was private.
    set_timeout = getattr(dist, "set_timeout", distributed_c10d._set_pg_timeout)
    for group in distributed_c10d._world.pg_map:
        set_timeout(timedelta(minutes=options.patience), group)
    start_state(engine, ema=options.has_ema)
    return engine


def checkpoint_activations(model: nn.Module) -> None:
    """Keeps only the input of each transformer block, and recomputes the rest in the backward pass."""
    for module in model.modules():
        for block in getattr(module, "blocks", ()):
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)


def compile_training(model: nn.Module) -> None:
    """Compiles what a training step computes: a model's objective, or a classifier's forward pass.

    Random draws stay outside. Evaluation is not compiled, since it would compile every shape of batch anew.
    """
    torch._logging.set_logs(dynamo=logging.ERROR)  # otherwise it reports every graph break
    name = "objective" if isinstance(model, PretrainingModel) else "forward"
    plain = getattr(model, name)
    compiled = torch.compile(plain)

    def run(*args: Any, **kwargs: Any) -> Any:
        is_step = model.training and torch.is_grad_enabled()
        return (compiled if is_step else plain)(*args, **kwargs)

    setattr(model, name, run)


class StepResult(NamedTuple):
    """The outcome of an optimizer step."""

    applied: bool  # False if a gradient was not finite; the weights are then unchanged
    grad_norm: float  # norm of the gradient before clipping, over all processes


def spread_non_finite(loss: Tensor) -> Tensor:
    """Makes all gradients of a non-finite loss NaN, so that every process sees them and skips the step."""
    return loss * torch.where(loss.detach().isfinite(), 1.0, torch.nan)


def take_step(engine: Any) -> StepResult:
    """Calls ``engine.step()``, after each backward pass; a non-finite gradient changes nothing.

    At the end of an accumulation it reads one number from the device, and at stages 1 to 3 DeepSpeed reads
    more.
    """
    if not engine.is_gradient_accumulation_boundary():
        engine.step()
        return StepResult(False, math.nan)
    is_plain = isinstance(engine.optimizer, torch.optim.Optimizer)  # stage 0 in fp32 and bf16: not wrapped
    if is_plain:
        norm = _gradient_norm(engine)
        engine.optimizer.found_inf = (~norm.isfinite()).float()  # the optimizer then skips the update
        engine.step()
        if engine.masters is not None:
            engine.masters.publish()
        grad_norm = float(norm)  # read last, so that the device never waits for this process
        return StepResult(math.isfinite(grad_norm), grad_norm)
    if engine.checks_gradients:
        is_bad = any_non_finite(engine)
        engine.basic_optimizer.found_inf = is_bad
        engine.step()
        if is_bad:
            return StepResult(False, math.nan)
        return StepResult(True, float(engine.get_global_grad_norm()))
    engine.step()
    scale = loss_scale(engine).get("cur_scale", 1.0) if not engine.zero_optimization_stage() else 1.0
    return StepResult(engine.was_step_applied(), float(engine.get_global_grad_norm()) / scale)


def _gradient_norm(engine: Any) -> Tensor:
    """The norm of the gradient that a plain optimizer is about to use, before clipping."""
    if engine.masters is not None:
        return engine.masters.take_gradients(engine.clip_norm)
    gradients = [p.grad for p in engine.module.parameters() if p.grad is not None]
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))


def any_non_finite(engine: Any) -> Tensor:
    """Whether any process has a non-finite gradient at stages 1 and 2: a scalar, 1.0 or 0.0."""
    parts = engine.optimizer.averaged_gradients.values()  # those that this process updates
    gradients = [gradient for part in parts for gradient in part]
    norms = torch.stack(torch._foreach_norm(gradients)) if gradients else torch.zeros(1, device=engine.device)
    found = (~norms.isfinite()).any().float()
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return found


@contextlib.contextmanager
def gathered(engine: Any, key: str = WEIGHT) -> Iterator[Any]:
    """The engine's model with whole weights, for any of its methods; all processes must enter.

    Below stage 3 it is the model itself. At stage 3 DeepSpeed gathers a module's weights only during its
    ``forward``; here the model is a whole copy in the engine's precision, dropped on leaving. With ``EMA``
    it is a copy that has the moving average's weights.
    """
    if key == WEIGHT and engine.zero_optimization_stage() < 3:
        yield engine.module
        return
    copy = type(engine.module)(**engine.module._hub_mixin_config)
    copy.load_state_dict(model_weights(engine, key))
    first = next(engine.module.parameters())
    yield copy.to(first.device, first.dtype).eval()
