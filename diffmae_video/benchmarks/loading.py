"""The speed of reading clips: on one core beside opening the file for each clip, and of the whole loader."""

import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from diffmae_video.benchmarks.figure_log import FigureLog
from diffmae_video.benchmarks.steps import DTYPES, training_step
from diffmae_video.benchmarks.timing import RUNS, median_ratio
from diffmae_video.build import build_dataset, build_model
from diffmae_video.data import (
    ClipDataset,
    Entry,
    clips_on,
    normalise,
    open_video,
    training_loader,
    write_list,
)
from diffmae_video.data.clip_sampler import ClipSampler, read_clips
from diffmae_video.data.random_clips import SampleKey
from diffmae_video.data.transforms import random_resized_crop
from diffmae_video.decoding.small_copies import resize_video
from diffmae_video.errors import InputError, require
from diffmae_video.models import Output

WIDTH, HEIGHT, FPS, SECONDS = 340, 256, 30, 10  # as Kinetics is usually distributed
LIST_COPIES = 64  # how often the loader's list names each file, so that batches do not run out of videos


def make_kinetics_like(sources: Sequence[Path], folder: Path) -> list[Path]:
    """Writes 10 s H.264 files of 340 x 256 at 30 frames per second, with x264's default long GOPs."""
    av = require("av", "video")
    made = []
    for source in sources:
        with av.open(str(source)) as video:
            frames = [
                f.reformat(WIDTH, HEIGHT, "yuv420p", interpolation="AREA")
                for f in itertools.islice(video.decode(video=0), FPS * SECONDS)
            ]
        there_and_back = itertools.cycle([*frames, *frames[-2:0:-1]])
        path = folder / f"{source.stem}.mp4"
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=FPS, options={"threads": "1"})
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for i, frame in enumerate(itertools.islice(there_and_back, FPS * SECONDS)):
                frame.pts, frame.time_base = i, Fraction(1, FPS)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        made.append(path)
    return made


def open_for_each_clip(
    paths: Sequence[Path], sampling: ClipSampler, size: Sequence[int], crop_scale: Sequence[float]
) -> Iterator[None]:
    """The peer: decord opens the file for each clip, as VideoMAE's data set does, with the same crops."""
    decord = require("decord", "video")
    rng, state = np.random.default_rng(0), torch.Generator().manual_seed(0)
    for path in itertools.cycle(paths):
        video = decord.VideoReader(str(path), num_threads=1, ctx=decord.cpu(0))
        start = rng.integers(len(video) - (sampling.num_frames - 1) * sampling.stride)
        indices = [int(start) + i * sampling.stride for i in range(sampling.num_frames)]
        random_resized_crop(video.get_batch(indices).asnumpy(), size, state, crop_scale)
        yield


def data_speed(cfg: CfgNode, sources: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Clips per second of the pipeline, of the peer, and of the pipeline on small copies; medians of 5 runs.

    These are of one core. ``loader_clips_per_s`` is the rate at which the training process gets batches from
    the whole loader, by the number of worker processes.

    Args:
        cfg: its DATA and TRAIN are used.
        sources: real videos, which files like Kinetics's are made from.
        folder: where those files go.

    Raises:
        InputError: DATA.SHORT_SIDE is 0.
    """
    torch.set_num_threads(1)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # also for the decoding process
    paths, small = _files(cfg, sources, folder)
    whole, resized = (_dataset(cfg, p) for p in (paths, small))
    peer = open_for_each_clip(paths, whole.clip_sampler, cfg.DATA.SIZE, cfg.DATA.CROP_SCALE)
    runs: dict[str, list[float]] = {"peer": [], "ours": [], "resized": []}
    for run in range(RUNS + 1):  # the first one warms up
        speeds = {
            "peer": _rate(lambda _: next(peer), 3 * len(paths), 1),
            "ours": _rate(_reading(whole, run), 3 * len(paths), cfg.DATA.REPEATS),
            "resized": _rate(_reading(resized, run), 3 * len(paths), cfg.DATA.REPEATS),
        }
        for name, speed in speeds.items():
            if run:
                runs[name].append(speed)
    shares = _shares(whole, paths)
    os.sched_setaffinity(0, cores)
    return {
        "backend": cfg.DATA.BACKEND,
        "repeats": cfg.DATA.REPEATS,
        "open_per_clip_clips_per_s": round(statistics.median(runs["peer"]), 1),
        "clips_per_s": round(statistics.median(runs["ours"]), 1),
        "resized_clips_per_s": round(statistics.median(runs["resized"]), 1),
        "ratio_to_open_per_clip": median_ratio(runs["ours"], runs["peer"]),
        "resized_ratio": median_ratio(runs["resized"], runs["ours"]),
        **shares,
        "bytes_per_s_of_files": [
            round(sum(p.stat().st_size for p in files) / len(files) / SECONDS) for files in (paths, small)
        ],
        "waiting_share": round(_waiting(cfg, whole), 3),
        "cores": len(cores),
        "loader_clips_per_s": {
            str(workers): round(loader_rate(whole, cfg.TRAIN.BATCH_SIZE, workers), 1)
            for workers in sorted({1, len(cores)})
        },
    }


def loader_rows(
    log: FigureLog, cfg: CfgNode, sources: Sequence[Path], folder: Path, device: torch.device
) -> None:
    """Measures the whole loader on all cores, on files like Kinetics's and on small copies of them.

    Args, raises: see :func:`data_speed`.
    """
    cores = len(os.sched_getaffinity(0))
    for name, paths in zip(("long GOPs", "small copies"), _files(cfg, sources, folder), strict=True):
        data = _dataset(cfg, paths)
        for workers in sorted({1, max(1, cores - 1)}):
            log.measure(
                "loader",
                device,
                partial(_loader_figures, data, cfg.TRAIN.BATCH_SIZE, workers),
                files=name,
                backend=cfg.DATA.BACKEND,
                workers=workers,
                cores=cores,
            )


def _loader_figures(data: ClipDataset, batch_size: int, workers: int) -> dict[str, Any]:
    return {"clips_per_s": round(loader_rate(data, batch_size, workers), 1)}


def loader_rate(data: ClipDataset, batch_size: int, workers: int, seconds: float = 4.0) -> float:
    """Clips per second that the training process gets: decoded, collated, shared and, for a GPU, pinned."""
    batches = iter(training_loader(data, batch_size, workers))
    for _ in range(2 * workers + 1):  # what the workers had read before the clock started
        next(batches)
    clips, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        clips += len(next(batches).samples) * data.repeats
    return clips / (time.perf_counter() - start)


def _files(cfg: CfgNode, sources: Sequence[Path], folder: Path) -> tuple[list[Path], list[Path]]:
    """Files like Kinetics's, and small copies of them."""
    if not cfg.DATA.SHORT_SIDE:
        raise InputError("DATA.SHORT_SIDE: the benchmark writes small copies; set their short side in pixels")
    paths = make_kinetics_like(sources, folder)
    small = [folder / f"{path.stem}_small.mp4" for path in paths]
    for path, target in zip(paths, small, strict=True):
        resize_video(path, target, cfg.DATA.SHORT_SIDE)
    return paths, small


def _dataset(cfg: CfgNode, paths: Sequence[Path]) -> ClipDataset:
    """The config's training clips, read from these files as they are."""
    listed = paths[0].with_suffix(".csv")
    write_list(listed, [Entry(str(path)) for path in paths] * LIST_COPIES)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATA.TRAIN, cfg.DATA.SHORT_SIDE = str(listed), 0  # SHORT_SIDE is only for the copies
    return build_dataset(cfg, build_model(cfg))


def _rate(read: Callable[[int], Any], count: int, clips: int) -> float:
    start = time.perf_counter()
    for i in range(count):
        read(i)
    return count * clips / (time.perf_counter() - start)


def _reading(data: ClipDataset, epoch: int) -> Callable[[int], Any]:
    """Reads the data set's samples one after another."""
    return lambda i: data[SampleKey(i, epoch, i % len(data))]


def _shares(data: ClipDataset, paths: Sequence[Path]) -> dict[str, float]:
    """The shares of time spent on decoding, transforms, and copies between processes."""
    decode = transform = copy = 0.0
    state = torch.Generator().manual_seed(0)
    for i in range(3 * len(paths)):
        path = paths[i % len(paths)]
        room = FPS * SECONDS - (data.clip_sampler.num_frames - 1) * data.clip_sampler.stride
        starts = torch.randint(max(1, room), (data.repeats,), generator=state).tolist()
        wanted = [data.clip_sampler._replace(fps=0.0).indices(None, s, FPS * SECONDS) for s in starts]  # type: ignore[arg-type]
        marks = [time.perf_counter()]
        with open_video(path, data.backend) as video:
            video.frames(sorted({i for clip in wanted for i in clip}))
        marks.append(time.perf_counter())
        with data.decoder.open(path, data.backend) as video:
            clips = read_clips(video, wanted)
        marks.append(time.perf_counter())
        for clip in clips:
            random_resized_crop(clip, data.size, state, data.crop_scale)
        marks.append(time.perf_counter())
        decode += marks[1] - marks[0]
        copy += marks[2] - marks[1] - (marks[1] - marks[0])
        transform += marks[3] - marks[2]
    copy = max(0.0, copy)
    total = decode + copy + transform
    return {
        "decode_share": round(decode / total, 3),
        "transform_share": round(transform / total, 3),
        "copy_share": round(copy / total, 3),
    }


def _waiting(cfg: CfgNode, data: ClipDataset, steps: int = 6) -> float:
    """The share of its time that training on one core waits for a worker on another core."""
    model = build_model(cfg).to(DTYPES[cfg.TRAIN.PRECISION]).train()
    batches = iter(training_loader(data, cfg.TRAIN.BATCH_SIZE, workers=1))
    batch = next(batches)

    def loss() -> Tensor:
        clips = clips_on(batch.clips, data.size, torch.device("cpu"))
        output: Output = model(normalise(clips, model.mean, model.std), batch.mask, batch.t)
        return output.loss

    step = training_step(model, cfg, loss)
    step()
    waited, start = 0.0, time.perf_counter()
    for _ in range(steps):
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        step()
    return waited / (time.perf_counter() - start)
