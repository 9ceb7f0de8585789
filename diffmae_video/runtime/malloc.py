"""How this process holds its memory."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of <malloc.h>


def keep_freed_memory() -> None:
    """Has glibc keep what tensors free, for the next ones; does nothing where there is no glibc.

    By itself malloc gives the large tensors of a step on a CPU back to the system and asks for
    them again at the next step, and clearing those pages took a seventh of the processor's time
    (measured).
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)
