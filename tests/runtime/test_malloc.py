"""malloc.py: the second of two large tensors takes no new pages."""

import resource
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from diffmae_video.runtime.malloc import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.empty(16 << 20).fill_(1)
before = faults()
torch.empty(15 << 20).fill_(1)  # smaller: an aligned block needs a little more room than it takes
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_memory_is_used_again() -> None:
    def faults(mode: str) -> int:
        command = [sys.executable, "-c", PROGRAM, mode]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    pages = (60 << 20) // resource.getpagesize()
    assert faults("kept") < pages / 20
