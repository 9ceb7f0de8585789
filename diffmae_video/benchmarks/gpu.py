"""All figures of one GPU in a few minutes, most valuable first.

Sections run in a process of their own, which is replaced if it hangs or dies. A section that fails costs its
own figures only.
"""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from fvcore.common.config import CfgNode

from diffmae_video.benchmarks.counts import count_operations, count_reads, profile_kernels
from diffmae_video.benchmarks.figure_log import FigureLog
from diffmae_video.benchmarks.gpu_report import write_report
from diffmae_video.benchmarks.kernels import kernel_rows
from diffmae_video.benchmarks.loading import loader_rows
from diffmae_video.benchmarks.sampling import sampling_rows
from diffmae_video.benchmarks.steps import EngineStep, dtype_of
from diffmae_video.benchmarks.timing import (
    device_name,
    free_memory,
    matmul_flops,
    peak_flops,
    synchronize,
)
from diffmae_video.benchmarks.training import LARGE_PRODUCT, large_product, step_rows
from diffmae_video.config import load_config
from diffmae_video.runtime.device import default_device
from diffmae_video.runtime.processes import start_process
from diffmae_video.training.checkpoints import Checkpoints, Progress

RECIPE = "bench/gpu"
FIGURES, REPORT = "figures.jsonl", "figures.md"
GRACE = 20.0  # seconds beyond a section's limit before its process is ended
SHORTEST = 10.0  # seconds that must be left for a section to start
PACKAGES = ("torch", "triton", "deepspeed", "timm", "transformers", "av")


class Bench(NamedTuple):
    """What a section measures with."""

    options: list[Any]  # that change the recipe, [KEY, VALUE, ...]
    sources: list[Path]  # real videos, which the loader's files are made from
    device: torch.device  # that is measured
    log: FigureLog  # where figures go

    def config(self, *more: Any) -> CfgNode:
        """The recipe with these options; the user's own come last."""
        return load_config(RECIPE, [*more, *self.options])

    def model(self, size: str, decoder: str) -> CfgNode:
        return self.config("MODEL.ENCODER.SIZE", size, "MODEL.DECODER.KIND", decoder)


def machine(bench: Bench) -> None:
    """The device, the versions of what matters, and the large product that others are compared with."""
    device, cfg = bench.device, bench.config()
    bench.log.write(
        "machine",
        device=device_name(device),
        memory_gb=round(torch.cuda.get_device_properties(device).total_memory / 1e9, 1)
        if device.type == "cuda"
        else None,
        cores=len(os.sched_getaffinity(0)),
        cuda=torch.version.cuda,
        **{name: _version(name) for name in PACKAGES},
    )
    n = LARGE_PRODUCT[device.type]

    def product() -> dict[str, Any]:
        flops, peak = matmul_flops([(n, n, n)], dtype_of(cfg), device), peak_flops(device)
        return {
            "tflops": round(flops / 1e12, 3),
            "peak_tflops": None if peak is None else round(peak / 1e12),
            "of_peak": None if peak is None else round(flops / peak, 3),
        }

    bench.log.measure("product", device, product, side=n, precision=cfg.TRAIN.PRECISION)


def engine(bench: Bench) -> None:
    """The step of a training run: its phases, operations and device reads, its kernels, and a checkpoint."""
    cfg = bench.config()
    step = EngineStep(cfg, start_process())
    for _ in range(3):
        step()
    log, device = bench.log, bench.device
    labels = {"model": f"ViT-{cfg.MODEL.ENCODER.SIZE}", "decoder": cfg.MODEL.DECODER.KIND}
    log.measure("phases", device, step.phases, **labels, batch=step.clips)
    log.measure(
        "counts",
        device,
        lambda: {
            "reads_in_step": count_reads(step, device),
            "reads_in_update": _in_update(step, lambda: count_reads(step.update, device)),
            "operations_in_update": _in_update(step, lambda: count_operations(step.update)),
            "operations_in_step": count_operations(step),
        },
        **labels,
    )
    log.measure("checkpoint", device, lambda: _save(step), **labels)
    slowest: list[dict[str, Any]] = []
    log.measure("profile", device, lambda: _profile(step, device, slowest), **labels)
    for kernel in slowest:
        log.write("kernel", **kernel)


def _in_update(step: EngineStep, count: Callable[[], int]) -> int:
    """Counts in the update that follows a forward and a backward pass."""
    step.engine.backward(step.forward())
    return count()


def _profile(step: EngineStep, device: torch.device, slowest: list[dict[str, Any]]) -> dict[str, Any]:
    """The sum of a step's kernels; the slowest ones are added to a list."""
    total, kernels = profile_kernels(step, device)
    slowest += kernels
    return total


def _save(step: EngineStep) -> dict[str, Any]:
    """Seconds until training goes on, and until a checkpoint is on the disk of temporary files."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), 2, start_process())
        start = time.perf_counter()
        checkpoints.start_save(step.engine, Progress(step=1))
        waited = time.perf_counter() - start
        is_saved = checkpoints.finish_save()
        seconds = time.perf_counter() - start
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return {
        "saved": is_saved,
        "training_waits_s": round(waited, 2),
        "written_s": round(seconds, 2),
        "gb": round(size / 1e9, 2),
    }


def steps_eager(bench: Bench) -> None:
    """Training steps without torch.compile: ViT-B and -L, both decoders."""
    product = large_product(bench.config(), bench.device)
    step_rows(bench.log, bench.model("B", "cross_self"), compiled=[False], product=product)
    step_rows(bench.log, bench.model("L", "cross_self"), ["bare", "hf"], [False], product)
    for size in "BL":
        step_rows(bench.log, bench.model(size, "cross"), ["bare"], [False], product)


def steps_compiled(bench: Bench) -> None:
    """Training steps with torch.compile, whose first step takes long."""
    product = large_product(bench.config(), bench.device)
    step_rows(bench.log, bench.model("B", "cross_self"), ["engine"], [True], product)
    step_rows(bench.log, bench.model("L", "cross_self"), ["engine"], [True], product)
    step_rows(bench.log, bench.model("B", "cross_self"), ["bare"], [True], product)
    step_rows(bench.log, bench.model("B", "cross_self"), ["hf"], [True], product)
    step_rows(bench.log, bench.model("B", "cross"), ["bare"], [True], product)
    step_rows(bench.log, bench.model("L", "cross"), ["bare"], [True], product)


def samples(bench: Bench) -> None:
    """Sampling with each precision, for several numbers of clips at once."""
    sampling_rows(bench.log, bench.config(), bench.device)


def kernels(bench: Bench) -> None:
    """The parts of a model alone."""
    kernel_rows(bench.log, bench.config(), bench.device)


def loader(bench: Bench) -> None:
    """Clips per second that the whole loader delivers."""
    if not bench.sources:
        bench.log.write("loader", skipped="no videos: pip install 'diffmae-video[demo]'")
        return
    with tempfile.TemporaryDirectory() as folder:
        loader_rows(
            bench.log, bench.config("DATA.BACKEND", "pyav"), bench.sources, Path(folder), bench.device
        )


# In order of worth, each with the seconds that it may take.
SECTIONS: dict[str, tuple[Callable[[Bench], None], float]] = {
    "machine": (machine, 20),
    "engine": (engine, 40),
    "steps_eager": (steps_eager, 60),
    "samples": (samples, 40),
    "steps_compiled": (steps_compiled, 240),
    "kernels": (kernels, 20),
    "loader": (loader, 60),
}


def measure_gpu(
    options: Sequence[Any], output: Path, minutes: float, sources: Sequence[Path]
) -> dict[str, Any]:
    """Runs all sections and writes ``figures.jsonl`` and ``figures.md`` into a folder.

    Args:
        options: that change the recipe ``bench/gpu``.
        output: the folder; figures of an earlier run in it are replaced.
        minutes: after which nothing new is started.
        sources: real videos for the loader; without any its section is skipped.

    Raises:
        InputError: the options do not fit the recipe.
    """
    load_config(RECIPE, options)
    output.mkdir(parents=True, exist_ok=True)
    path = output / FIGURES
    path.write_text("", encoding="utf-8")
    start = time.time()
    until, log = start + 60 * minutes, FigureLog(path)
    context = multiprocessing.get_context("spawn")
    remaining = list(SECTIONS)
    while remaining and until - time.time() > SHORTEST:
        receiver, sender = context.Pipe(duplex=False)
        worker = context.Process(
            target=_run_sections, args=(sender, remaining, list(options), list(sources), path, until)
        )
        worker.start()
        sender.close()
        problem, remaining = _follow(receiver, remaining, until)
        if problem is not None:
            worker.kill()
        worker.join()
        if problem is not None:
            log.write("section", **problem, exit_code=worker.exitcode)
    for name in remaining:
        log.write("section", name=name, skipped="the time was up")
    log.write("end", seconds=round(time.time() - start, 1))
    return {"figures": str(path), "report": str(write_report(path, output / REPORT))}


def _follow(
    receiver: Connection, sections: Sequence[str], until: float
) -> tuple[dict[str, Any] | None, list[str]]:
    """Waits for a worker, which reports the start of each section and its own end.

    Returns:
        The section in which it failed, and why, or None; and the sections that are left.
    """
    remaining, current, limit = list(sections), "", GRACE + 60.0  # imports take long on a cold disk
    while True:
        wait = min(limit + GRACE, until - time.time() + GRACE)
        if not receiver.poll(max(0.0, wait)):
            return {"name": current or "start", "error": f"no answer in {wait:.0f} s"}, remaining
        try:
            current = receiver.recv()
        except EOFError:
            if not current:  # it cannot even start: the next one would not either
                remaining = []
            return {"name": current or "start", "error": "the process ended"}, remaining
        if not current:
            return None, remaining
        remaining.remove(current)
        limit = SECTIONS[current][1]


def _run_sections(
    sender: Connection,
    sections: Sequence[str],
    options: list[Any],
    sources: list[Path],
    path: Path,
    until: float,
) -> None:
    """The worker: runs sections, after each of which the device must still answer."""
    device = default_device()
    for name in sections:
        run, limit = SECTIONS[name]
        now = time.time()
        if until - now < SHORTEST:
            break
        sender.send(name)
        log = FigureLog(path, min(until, now + limit))
        error = None
        try:
            run(Bench(options, sources, device, log))
        except Exception as exception:
            error = f"{type(exception).__name__}: {' '.join(str(exception).split())[:300]}"
        if error is not None:
            log.write("section", name=name, error=error)
        log.write("section", name=name, seconds=round(time.time() - now, 1))
        free_memory(device)
        synchronize(device)  # fails after an error that leaves the device unusable; a new process goes on
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    sender.send("")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
