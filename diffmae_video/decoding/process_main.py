"""The program of a decoding process: requests on stdin, replies on stdout, frames in shared memory.

:class:`diffmae_video.decoding.process.DecodingProcess` runs it. Its only argument is the file descriptor of
the shared memory.
"""

import ctypes
import json
import mmap
import os
import signal
import sys
from typing import Any

import numpy as np

from diffmae_video.decoding.backends import open_quietly
from diffmae_video.decoding.reader import VideoError, VideoReader, reason
from diffmae_video.decoding.small_copies import TARGET_ERRORS, resize_video
from diffmae_video.errors import InputError

PR_SET_PDEATHSIG = 1  # a signal to get when the thread that started this process ends


class Server:
    """Holds one open video and the memory that its frames are written to."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.memory: mmap.mmap | None = None
        self.video: VideoReader | None = None
        self.path = ""

    def open(self, path: str, backend: str, short_side: int | None) -> dict[str, Any]:
        self.close()
        self.path = path
        self.video = video = open_quietly(path, backend, short_side)
        return {
            **{name: getattr(video, name) for name in ("num_frames", "fps", "height", "width", "duration")},
            "aspect": [video.aspect.numerator, video.aspect.denominator],
            "colours": list(video.colours),
            "is_plain": video.is_plain,
        }

    def frames(self, indices: list[int]) -> dict[str, Any]:
        assert self.video is not None
        return self._share(self.video.frames(indices))

    def times(self) -> dict[str, Any]:
        assert self.video is not None
        return self._share(self.video.times)

    def content(self) -> dict[str, Any]:
        assert self.video is not None
        return self._share(np.frombuffer(self.video.content(), np.uint8))

    def check(self, path: str) -> dict[str, Any]:
        with open_quietly(path, "pyav") as video:
            video.check()
            return {"num_frames": video.num_frames}

    def resize(self, source: str, target: str, short_side: int, gop: int, crf: int) -> dict[str, Any]:
        try:
            resize_video(source, target, short_side, gop, crf)
        except OSError as error:  # a full disk does not make the video bad
            if error.errno not in TARGET_ERRORS:
                raise
            return {"errno": error.errno, "message": error.strerror}
        return {}

    def close(self) -> dict[str, Any]:
        if self.video is not None:
            self.video.close()
        self.video = None
        return {}

    def _share(self, array: np.ndarray) -> dict[str, Any]:
        size = max(1, array.nbytes)
        if self.memory is None or len(self.memory) < size:
            # Reserves the memory, so that a lack of it is an error here and not a fault while copying.
            os.posix_fallocate(self.descriptor, 0, size)
            self.memory = mmap.mmap(self.descriptor, size)
        np.frombuffer(self.memory, array.dtype, array.size).reshape(array.shape)[...] = array
        return {"shape": array.shape, "dtype": array.dtype.str}


def main() -> None:
    if sys.platform == "linux":  # a decoder that hangs must not outlive its parent
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # they reach the whole group; the parent handles them
    server = Server(int(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            do = getattr(server, request.pop("do"))
            reply = do(**request)
        except VideoError as error:
            reply = {"error": str(error), "is_of_file": True}
        except InputError as error:
            reply = {"error": str(error), "is_of_file": False}
        except Exception as error:  # a decoder may fail in any way
            name = request.get("path") or request.get("source") or server.path
            reply = {"error": f"{name}: {type(error).__name__}: {reason(error)}", "is_of_file": True}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
