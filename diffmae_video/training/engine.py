"""DeepSpeed: starting processes, building the engine, gathering the weights."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from diffmae_video.errors import InputError, require

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Process:
    """This process among those of the run."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def start_process() -> Process:
    """Joins the run that a launcher (deepspeed, torchrun, Slurm's srun) started, or starts one of one.

    Raises:
        InputError: DeepSpeed, or on a CPU the compiler that it needs, is missing.
    """
    cuda = torch.cuda.is_available()
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if cuda else "cpu")  # or DeepSpeed warns of its guess
    with quiet():
        require("deepspeed", "train")
    if not cuda:
        _check_compiler()
    # Plain `python`: without these DeepSpeed asks for mpi4py.
    os.environ.setdefault("RANK", "0")
    os.environ.setdefault("WORLD_SIZE", "1")
    os.environ.setdefault("LOCAL_RANK", "0")
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    if "MASTER_PORT" not in os.environ:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            os.environ["MASTER_PORT"] = str(probe.getsockname()[1])
    # One folder for each environment, so that its compiled extension is never another's.
    name = hashlib.sha1(f"{sys.prefix}-{torch.__version__}".encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(cache / "diffmae-video" / f"torch-extensions-{name}"))
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
    with quiet():
        import deepspeed

        deepspeed.utils.logger.setLevel(logging.WARNING)
        if not dist.is_initialized():
            deepspeed.init_distributed("nccl" if cuda else "gloo", verbose=False)
    local = int(os.environ["LOCAL_RANK"])
    if cuda:
        torch.cuda.set_device(local)
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    return Process(dist.get_rank(), dist.get_world_size(), device)


def _check_compiler() -> None:
    for program, remedy in (("g++", "install it (Debian: apt install g++)"), ("ninja", "pip install ninja")):
        beside = Path(sys.executable).parent / program
        if shutil.which(program) is None and not beside.exists():
            raise InputError(
                f"DeepSpeed compiles a small C++ extension on a CPU and needs {program}: {remedy}"
            )
    # DeepSpeed looks ninja up on PATH, where an environment that is not activated is not
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


@contextlib.contextmanager
def quiet():  # type: ignore[no-untyped-def]
    """Holds back what compilers and DeepSpeed print to stdout and stderr, unless they fail."""
    import tempfile

    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile("w+") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stdout.flush()
            sys.stderr.flush()
            log.seek(0)
            os.write(kept[1], log.read().encode())
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            os.close(kept[0])
            os.close(kept[1])


def resolve_precision(precision: str, device: torch.device) -> str:
    """``fp32``, ``bf16`` or ``fp16``; ``auto`` is bf16 where the device computes in it, else fp32.

    Raises:
        InputError: an unknown name, or fp16 on a CPU.
    """
    if precision not in PRECISIONS:
        raise InputError(
            f"TRAIN.PRECISION: unknown precision {precision!r}; there are {', '.join(PRECISIONS)}"
        )
    if precision == "fp16" and device.type == "cpu":
        raise InputError("TRAIN.PRECISION fp16: DeepSpeed has none on a CPU; use bf16 or fp32")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    capability = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if capability.get("avx512_bf16") or capability.get("amx_bf16") else "fp32"


def build_engine(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    process: Process,
    micro_batch: int,
    accumulation: int,
    precision: str,
    zero_stage: int,
    clip_grad: float,
) -> Any:
    """Wraps a model and its optimizer in a DeepSpeed engine.

    Args:
        micro_batch: samples per process and forward.
        accumulation: forwards per optimizer step.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        zero_stage: 0 to 3.
        clip_grad: largest norm of the gradient; 0 for none.
    """
    if not 0 <= zero_stage <= 3:
        raise InputError(f"DEEPSPEED.ZERO_STAGE: 0 to 3, got {zero_stage}")
    with quiet():
        import deepspeed

        engine, *_ = deepspeed.initialize(
            model=model.to(process.device),
            optimizer=optimizer,
            config={
                "train_micro_batch_size_per_gpu": micro_batch,
                "gradient_accumulation_steps": accumulation,
                "gradient_clipping": clip_grad,
                "bf16": {"enabled": precision == "bf16"},
                "fp16": {"enabled": precision == "fp16"},
                "zero_optimization": {"stage": zero_stage},
                "steps_per_print": 10**12,
            },
        )
    return engine


def consolidated_weights(engine: Any) -> dict[str, Tensor]:
    """The float32 weights of an engine's model by name, on the CPU; all processes must call it."""
    from deepspeed.utils import safe_get_full_fp32_param

    model: nn.Module = engine.module
    weights = {name: value.detach() for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        full = safe_get_full_fp32_param(parameter)
        weights[name] = parameter.detach() if full is None else full.view(_shape(parameter))
    return {name: value.float().cpu().clone() for name, value in weights.items()}


def _shape(parameter: nn.Parameter) -> torch.Size:
    return getattr(parameter, "ds_shape", parameter.shape)
