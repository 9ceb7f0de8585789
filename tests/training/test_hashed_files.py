"""Files that are hashed as they are written."""

import errno
import hashlib

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from diffmae_video.training import hashed_files
from diffmae_video.training.hashed_files import sha256, write_float32, write_parts


@pytest.mark.parametrize("chunk", [7, 2**24])
def test_tensors_come_back_and_the_hash_is_the_files(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(hashed_files, "CHUNK", chunk)
    tensors = {
        "b": torch.randn(3, 4),
        "a": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "turned": torch.randn(4, 2).T,
    }
    entry = write_float32(tmp_path / "x.safetensors", tensors)
    content = (tmp_path / "x.safetensors").read_bytes()
    assert entry == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert sha256(tmp_path / "x.safetensors") == entry["sha256"]
    loaded = load_file(tmp_path / "x.safetensors")
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], value) for name, value in tensors.items())
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_an_error_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"gone/x") as error:
        write_parts(tmp_path / "gone/x", [b"1"])
    assert error.value.errno == errno.ENOENT
    with pytest.raises(TypeError, match=r"half is torch\.float16"):
        write_float32(tmp_path / "x", {"half": torch.zeros(1, dtype=torch.float16)})
