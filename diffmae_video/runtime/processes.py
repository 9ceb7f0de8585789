"""Joins the processes of a run, under any launcher or none."""

import contextlib
import fcntl
import hashlib
import logging
import os
import random
import resource
import shutil
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from diffmae_video.errors import InputError, require
from diffmae_video.runtime.malloc import keep_freed_memory

PATIENCE = 10.0  # minutes


@dataclass(frozen=True)
class Process:
    """This process and its run: its rank, the number of processes, and its device."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def peak_mb(self) -> float:
        """The peak memory of its device (of the process itself on a CPU), in MiB."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
        return used / (1024 if sys.platform != "darwin" else 1024**2)


def start_process(patience: float = PATIENCE) -> Process:
    """Joins the run that a launcher (deepspeed, torchrun, srun) started, or starts a run of one process.

    Args:
        patience: minutes that a process waits for another one before it gives up.

    Raises:
        InputError: DeepSpeed or, on a CPU, the compiler that it needs is missing, or the processes cannot
            connect to each other.
    """
    cuda = torch.cuda.is_available()
    os.environ.setdefault(
        "DS_ACCELERATOR", "cuda" if cuda else "cpu"
    )  # otherwise DeepSpeed guesses, and warns
    with quiet():
        require("deepspeed", "train")
    # Under plain `python`, DeepSpeed asks for mpi4py without these.
    os.environ.setdefault("RANK", "0")
    os.environ.setdefault("WORLD_SIZE", "1")
    os.environ.setdefault("LOCAL_RANK", "0")
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    if os.environ["WORLD_SIZE"] == "1":
        # A single process lets the system choose; runs started by this process would inherit a fixed port.
        os.environ.setdefault("MASTER_PORT", "0")
    elif "MASTER_PORT" not in os.environ:
        raise InputError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but MASTER_PORT is not set: start with torchrun, or "
            "set it to a free port, the same for all processes"
        )
    # Each environment has a folder of its own, so that it never loads another one's compiled extension.
    name = hashlib.sha1(f"{sys.prefix}-{torch.__version__}".encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(cache / "diffmae-video" / f"torch-extensions-{name}"))
    if not cuda:
        keep_freed_memory()
        _check_compiler()
        _build_extension()
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
    warnings.filterwarnings(
        "ignore", category=FutureWarning, module="torch.distributed"
    )  # raised by DeepSpeed
    with quiet():
        import deepspeed

        deepspeed.utils.logger.setLevel(logging.WARNING)
        if not dist.is_initialized():
            try:
                deepspeed.init_distributed(
                    "nccl" if cuda else "gloo", verbose=False, timeout=timedelta(minutes=patience)
                )
            except dist.DistError as error:
                place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
                raise InputError(
                    f"the processes cannot connect at MASTER_ADDR:MASTER_PORT = {place}: {error}"
                ) from error
    local = int(os.environ["LOCAL_RANK"])
    if cuda:
        torch.cuda.set_device(local)
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    return Process(dist.get_rank(), dist.get_world_size(), device)


def free_port() -> int:
    """A free port, below the range that Linux assigns to outgoing connections."""
    while True:
        port = random.SystemRandom().randrange(20000, 32768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _check_compiler() -> None:
    for program, remedy in (("g++", "install it (Debian: apt install g++)"), ("ninja", "pip install ninja")):
        beside = Path(sys.executable).parent / program
        if shutil.which(program) is None and not beside.exists():
            raise InputError(
                f"DeepSpeed compiles a small C++ extension on a CPU, which needs {program}: {remedy}"
            )
    # DeepSpeed looks for ninja on PATH, which lacks the environment's programs unless it is activated.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


def _build_extension() -> None:
    """Builds or loads DeepSpeed's C++ extension, one process at a time.

    Older versions of torch lock a build with a file. A process that is killed during a build leaves the file
    behind, and every later start waits for it forever. The system releases our lock with the process that
    holds it; whoever holds ours may therefore delete torch's.
    """
    from deepspeed.accelerator import get_accelerator

    builder = get_accelerator().create_op_builder("ShareMemCommBuilder")
    if builder is None or not builder.is_compatible():
        return
    folder = Path(os.environ["TORCH_EXTENSIONS_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "builder.lock").open("w") as lock, quiet():
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / builder.name / "lock").unlink(missing_ok=True)
        builder.load(verbose=False)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Holds back what compilers and DeepSpeed print to stdout and stderr, and prints it only if they fail."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile("w+") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            yield
        except InputError:  # its message says everything
            raise
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
