"""Writing files: they are whole or absent, and a full disk is reported as one."""

import errno
import stat

import pytest
import torch
from safetensors import SafetensorError, safe_open

from diffmae_video.files import atomic_path, new_folder, write_tensors, write_text


def test_a_file_appears_whole_with_the_users_permissions(tmp_path):
    path = tmp_path / "new folder" / "a.txt"
    with atomic_path(path) as temporary:
        assert temporary.suffix == ".txt"
        assert temporary.parent == path.parent
        temporary.write_text("text")
        assert not path.exists()
    assert path.read_text() == "text"
    plain = tmp_path / "plain"
    plain.write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    write_text(tmp_path / "a.txt", "old")

    def fail_halfway():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_folder_replaces_the_old_one_only_when_it_is_complete(tmp_path):
    for content, fails in (("old", False), ("half", True), ("new", False)):
        try:
            with new_folder(tmp_path / "page") as folder:
                (folder / content).write_text("")
                if fails:
                    raise RuntimeError
        except RuntimeError:
            pass
        expected = "old" if fails else content
        assert [path.name for path in (tmp_path / "page").iterdir()] == [expected]
        assert [path.name for path in tmp_path.iterdir()] == ["page"]


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
