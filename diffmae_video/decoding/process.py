"""Decodes in a process of its own, so that a decoder that hangs or crashes does not take the run with it.

A thread cannot be stopped while a C library holds the GIL, and a DataLoader's worker may not start processes
with multiprocessing. A separate program can be killed and started again.
"""

import contextlib
import functools
import glob
import json
import mmap
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import Self

import diffmae_video
from diffmae_video.decoding.reader import ColourTags, VideoError, VideoReader
from diffmae_video.errors import InputError

ROOT = Path(diffmae_video.__file__).resolve().parent.parent
# The current folder is removed from the path: its files could hide Python's own modules.
PROGRAM = "import sys; del sys.path[0]; from diffmae_video.decoding.process_main import main; main()"
# Fixes glibc's threshold at its initial value. If it grew, frames would be allocated on the heaps of decord's
# short-lived threads, which fragment: the process would grow by 50 KB with each clip.
ALLOCATION = {"MALLOC_MMAP_THRESHOLD_": "131072"}
OF_AN_OPEN_VIDEO = ("frames", "times", "content")  # requests that a new process could not answer


class DecodingProcess:
    """A decoding process. It starts with the first request, and again after it hung or crashed.

    Args:
        timeout: seconds to wait for a reply before the process is killed.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.process: subprocess.Popen[bytes] | None = None
        self.memory: mmap.mmap | None = None
        self.owner = 0
        self.opened: VideoReader | None = None
        self.lock = threading.Lock()

    def _start(self) -> subprocess.Popen[bytes]:
        descriptor = _anonymous_file()
        # an empty entry would mean the current folder
        paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        environment = {**ALLOCATION, **os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(descriptor)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # decoders print a line for each damaged frame
                bufsize=0,
                pass_fds=[descriptor],
                env=environment,
            )
        except OSError:
            os.close(descriptor)
            raise
        self.descriptor, self.owner, self.memory = descriptor, os.getpid(), None
        return self.process

    def ask(self, name: str, limit: float | None = None, **request: Any) -> dict[str, Any]:
        """Sends a request and waits for its reply.

        Args:
            name: the file, for messages.
            limit: seconds to wait, instead of ``timeout``.

        Raises:
            VideoError: the file cannot be read, or the decoder hung or crashed on it.
            InputError: the reader is unknown or not installed; the file may be good.
        """
        with self.lock:
            reply = self._ask(name, self.timeout if limit is None else limit, request)
        if "error" not in reply:
            return reply
        raise VideoError(reply["error"]) if reply["is_of_file"] else InputError(reply["error"])

    def _ask(self, name: str, limit: float, request: dict[str, Any]) -> dict[str, Any]:
        process = self.process
        if process is None or self.owner != os.getpid():  # after a fork, the process belongs to the parent
            process = self._start()
        elif process.poll() is not None and request["do"] not in OF_AN_OPEN_VIDEO:
            self.stop()  # it ended between two requests; this file is not to blame
            process = self._start()
        try:
            _write(process, json.dumps(request).encode() + b"\n")
            line = self._line(process, time.monotonic() + limit)
        except BrokenPipeError:
            line = b""
        except BaseException:  # after Ctrl-C, the reply would be taken for that of the next request
            self.stop()
            raise
        if line is None:
            self.stop()
            raise VideoError(f"{name}: the decoder gave no answer within {limit:g} s and was ended")
        if not line:
            code = process.wait()
            self.stop()
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise VideoError(f"{name}: the decoder crashed over it ({how})")
        return json.loads(line)

    @staticmethod
    def _line(process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
        """A line from the process; None if it is late, empty if the process has ended."""
        assert process.stdout is not None
        received = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not received.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                part = os.read(process.stdout.fileno(), 1 << 16)
                if not part:
                    return b""
                received += part
        return received

    def array(self, name: str, **request: Any) -> np.ndarray:
        """Requests an array: a view of the shared memory, valid until the next request."""
        reply = self.ask(name, **request)
        count = int(np.prod(reply["shape"]))
        size = count * np.dtype(reply["dtype"]).itemsize
        if self.memory is None or len(self.memory) < size:
            self.memory = mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)
        return np.frombuffer(self.memory, reply["dtype"], count).reshape(reply["shape"])

    def open(self, path: str | Path, backend: str, short_side: int | None = None) -> VideoReader:
        """Opens a video like :func:`~diffmae_video.decoding.backends.open_video`, one at a time.

        Raises:
            VideoError: the video cannot be opened, or the decoder hung or crashed.
        """
        return _GuardedReader(self, str(path), backend, short_side)

    def check(self, path: str | Path, timeout: float) -> int:
        """Decodes every frame within ``timeout`` seconds and returns the number of frames.

        Raises:
            VideoError: what is wrong with the file.
        """
        return int(self.ask(str(path), timeout, do="check", path=str(path))["num_frames"])

    def resize(self, source: str | Path, target: str | Path, short_side: int, gop: int, crf: int) -> None:
        """Writes a small copy, see :func:`~diffmae_video.decoding.small_copies.resize_video`.

        Raises:
            VideoError: the source cannot be read.
            OSError: the target cannot be written.
        """
        about = {"short_side": short_side, "gop": gop, "crf": crf}
        try:
            reply = self.ask(str(source), do="resize", source=str(source), target=str(target), **about)
        except VideoError:
            target = Path(target)  # removes what a killed process left behind
            for aside in target.parent.glob(f".{glob.escape(target.stem[:64])}-????????{target.suffix}"):
                aside.unlink(missing_ok=True)
            raise
        if "errno" in reply:
            raise OSError(reply["errno"], reply["message"], str(target))

    def stop(self) -> None:
        """Kills the process. The next request starts a new one."""
        process, self.process, self.memory = self.process, None, None
        if process is None or self.owner != os.getpid():
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __del__(self) -> None:
        if self.process is not None:
            self.stop()

    def __getstate__(self) -> dict[str, Any]:
        return {"timeout": self.timeout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["timeout"])  # type: ignore[misc]


class _GuardedReader(VideoReader):
    """An open video in a decoding process. Its frames are views, valid until the next request."""

    def __init__(self, process: DecodingProcess, path: str, backend: str, short_side: int | None) -> None:
        self.process, self.path = process, path
        about = process.ask(path, do="open", path=path, backend=backend, short_side=short_side)
        self.num_frames, self.fps = about["num_frames"], about["fps"]
        self.height, self.width = about["height"], about["width"]
        self.aspect, self.colours = Fraction(*about["aspect"]), ColourTags(*about["colours"])
        self.duration, self.is_plain = float(about["duration"]), about["is_plain"]
        process.opened = self

    def _request(self, **request: Any) -> np.ndarray:
        if self.process.opened is not self:
            raise RuntimeError(f"{self.path}: is closed; a decoding process has one open video at a time")
        return self.process.array(self.path, **request)

    @functools.cached_property
    def times(self) -> np.ndarray:  # type: ignore[override]  # fetched only if it is needed
        return self._request(do="times").copy()

    def decode(self, indices: Sequence[int]) -> np.ndarray:
        return self._request(do="frames", indices=list(indices))

    def content(self) -> bytes:
        return self._request(do="content").tobytes()

    def close(self) -> None:
        # the process may have been killed because of this file, or have opened another one
        if self.process.opened is self and self.process.process is not None:
            self.process.ask(self.path, do="close")
        if self.process.opened is self:
            self.process.opened = None


def _write(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    view = memoryview(data)
    while view:
        view = view[os.write(process.stdin.fileno(), view) :]


def _anonymous_file() -> int:
    """A file in memory without a name, shared by both processes."""
    if hasattr(os, "memfd_create"):  # Linux; not limited by the size of /dev/shm
        return os.memfd_create("diffmae-video-frames")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
