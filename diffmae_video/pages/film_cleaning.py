"""Cleans an uploaded film in a process of its own, which the page can watch and end."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffmae_video.cli import describe
from diffmae_video.data import open_video
from diffmae_video.decoding import DecodingProcess
from diffmae_video.encoding.writers import open_film
from diffmae_video.errors import InputError
from diffmae_video.film.aligned_masks import resize_mask
from diffmae_video.film.canvas import Canvas
from diffmae_video.film.fit import FitProgress, fit_film
from diffmae_video.film.holes import EditedHole, HoleEdits
from diffmae_video.film.painted_hole import PaintedHole, follow_camera
from diffmae_video.film.timed_plan import FitLength
from diffmae_video.runtime.stops import RunEnded

MAX_SECONDS = 600  # of an upload, which may come from strangers; our choice
MAX_MINUTES = 15.0  # of a fit
JOB_SECONDS = 7200.0  # after which a job is ended, whatever it does
DECODING_SECONDS = 60.0  # to wait for a frame
FIRST_PREVIEW, PREVIEW_GROWTH, MAX_PREVIEW_PAUSE = 3.0, 1.4, 20.0  # seconds into the fit, factor, seconds
REFRESH_SECONDS = 1.0
STOP_SECONDS = 60.0  # that a process has to finish its step, save it and end
SAMPLER, STEPS = "dpm++", 10
PROCESS = "cleaning"


class Job(NamedTuple):
    """What a user asked for."""

    source: Path  # the upload
    output: Path  # an mp4
    folder: Path  # of the fit, which is used again for the same film and hole
    painted: np.ndarray  # bool [h, w], of any size
    frame: int  # on which it was painted
    follows: bool  # whether the hole follows the camera or stays
    edits: HoleEdits
    seconds: float  # of the fit; 0: the base fill alone


class Report(NamedTuple):
    """How far a job is."""

    sentence: str
    share: float | None  # done of the present stage, from 0 to 1; None if that is unknown
    picture: np.ndarray | None = None  # a preview, uint8 [H, W, 3]
    # how well the fit fills known places, see diffmae_video.film.fit_estimate.estimate
    estimate: dict[str, Any] | None = None
    error: str | None = None  # the job has failed
    is_done: bool = False


def clean_film(job: Job) -> Iterator[Report]:
    """Runs a job in another process and yields its reports. The process ends when the iterator is closed.

    Raises:
        InputError: the film or the hole cannot be used; the message is for the user.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, job), name=PROCESS)
    process.start()
    theirs.close()
    deadline, report = time.monotonic() + JOB_SECONDS, Report("Starting", None)
    try:
        while True:
            if time.monotonic() > deadline:
                raise InputError(f"took longer than {JOB_SECONDS / 3600:g} hours and was ended; cut the film")
            if not ours.poll(REFRESH_SECONDS):
                yield report._replace(
                    picture=None, estimate=None
                )  # gradio can only stop an iterator that yields
                continue
            try:
                report = ours.recv()
            except EOFError:
                process.join()
                raise InputError(
                    f"the fit ended unexpectedly (code {process.exitcode}); if memory ran out, try a smaller "
                    "film"
                ) from None
            if report.error is not None:
                raise InputError(report.error)
            yield report
            if report.is_done:
                return
    finally:
        _end(process)
        ours.close()


def end_jobs() -> None:
    """Ends the processes of all jobs."""
    for process in multiprocessing.active_children():
        if process.name == PROCESS:
            _end(process)


def _end(process: Any) -> None:
    for end in (process.terminate, process.kill):
        if process.is_alive():
            end()
            process.join(STOP_SECONDS)


def _work(connection: Connection, job: Job) -> None:
    """The other process: fits, fills and writes. Its progress is on the page, and not on the terminal."""
    with contextlib.suppress(BrokenPipeError, RunEnded):  # the page has gone, or ends this process
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                _clean(connection, job)
        except (InputError, OSError) as error:
            connection.send(Report("", None, error=describe(error)))


def _clean(connection: Connection, job: Job) -> None:
    connection.send(Report("Reading the film", None))
    with open_video(job.source, "pyav") as video:
        size = (video.height, video.width)
        picture = resize_mask(job.painted, size)
        shifts = np.zeros((video.num_frames, 2))
        if job.follows:
            connection.send(Report("Following the camera", None))
            shifts = follow_camera(video, picture, job.frame)
        canvas = Canvas(size, size, (8, 8), True)
        hole = EditedHole(PaintedHole(canvas, picture, shifts), job.edits)
        next_preview = FIRST_PREVIEW

        def on_progress(progress: FitProgress) -> None:
            nonlocal next_preview
            preview = None
            if progress.seconds >= next_preview:
                preview = progress.preview(job.frame)
                pause = min(progress.seconds * (PREVIEW_GROWTH - 1), MAX_PREVIEW_PAUSE)
                next_preview = progress.seconds + max(pause, FIRST_PREVIEW)
            sentence = f"Learning from the film: {progress.seconds:.0f} of {job.seconds:.0f} s"
            connection.send(Report(sentence, progress.share, preview))

        connection.send(Report("Looking for frames that show what is hidden", None))
        fitted = fit_film(video, hole, job.folder, FitLength(job.seconds), on_progress=on_progress)
        connection.send(Report("Choosing the best kind of fill on places that are known", None))
        estimate = fitted.estimate(SAMPLER, STEPS)
        connection.send(Report("Filling the film", 0.0, estimate=estimate))
        with open_film(job.output, video.fps, 12, video.times, job.source, like=video) as write:
            for frame in fitted.frames(estimate["fill"], 1, SAMPLER, STEPS, seed=0):
                write(frame.samples[0])
                share = (frame.number + 1) / video.num_frames
                sentence = f"Filling frame {frame.number + 1} of {video.num_frames}"
                connection.send(Report(sentence, share))
        connection.send(Report("Done", 1.0, is_done=True))


def frame_at(path: Path, second: float) -> tuple[np.ndarray, int, float]:
    """The frame at a second, uint8 [H, W, 3], its number, and the last frame's second.

    It is decoded in another process, so that a bad file cannot hang the page.

    Raises:
        VideoError: the file cannot be read.
        InputError: it is longer than ``MAX_SECONDS``.
    """
    with DecodingProcess(DECODING_SECONDS) as decoder, decoder.open(path, "pyav") as video:
        last = float(video.times[-1])
        if last > MAX_SECONDS:
            raise InputError(f"{path}: is {last:.0f} s long, and the limit is {MAX_SECONDS} s; cut it first")
        number = max(0, int(np.searchsorted(video.times, second + 1e-6, side="right")) - 1)
        return video.frames([number])[0].copy(), number, last
