"""Writing files: they are whole or absent, and a full disk is reported as one."""

import errno

import pytest
import torch
from safetensors import SafetensorError, safe_open

from diffmae_video.files import write_tensors


def test_tensors_are_written_with_their_metadata(tmp_path):
    matrix = torch.arange(6.0).view(2, 3).requires_grad_()
    write_tensors(tmp_path / "w.safetensors", {"transposed": matrix.T}, {"labels": "a, b"})
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "labels": "a, b"}
        assert torch.equal(file.get_tensor("transposed"), matrix.T)


@pytest.mark.parametrize(
    ("message", "code"),
    [("I/O error: No space left on device (os error 28)", errno.ENOSPC), ("I/O error: odd", errno.EIO)],
)
def test_an_error_of_safetensors_becomes_an_os_error(tmp_path, monkeypatch, message, code):
    def fail(_tensors, path, _metadata):
        path.write_bytes(b"half")
        raise SafetensorError(message)

    path = tmp_path / "w.safetensors"
    write_tensors(path, {"w": torch.zeros(1)})
    before = path.read_bytes()
    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(OSError, match="I/O error") as error:
        write_tensors(path, {"w": torch.ones(1)})
    assert (error.value.errno, error.value.filename) == (code, str(path))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
