"""Starting, after a build that was killed."""

import fcntl

import pytest
import torch

from diffmae_video.training.process import _build_extension
from tests.training.engines import engine_of


@pytest.mark.skipif(torch.cuda.is_available(), reason="the extension is built on a CPU only")
def test_a_lock_that_a_killed_build_left_is_gone_before_the_next(tmp_path, monkeypatch):
    engine_of()  # DeepSpeed is there
    from deepspeed.accelerator import get_accelerator

    builder = type(get_accelerator().create_op_builder("ShareMemCommBuilder"))
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    left = tmp_path / builder.NAME / "lock"
    left.parent.mkdir()
    left.touch()
    seen = []

    def load(self, verbose):
        seen.append(left.exists())
        with (tmp_path / "builder.lock").open("w") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)  # another start would wait

    monkeypatch.setattr(builder, "load", load)
    _build_extension()
    assert seen == [False]
