"""datasets/cifar10.py on an archive of the published form with a few pictures."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from diffmae_video.studies.labelled_data import find_split
from tests.calls import script
from tests.repository import ROOT

NAMES = "cat\ndog\n\n"


@pytest.fixture
def pictures():
    """Eight pictures, uint8 [8, 32, 32, 3]; the classes of their records alternate."""
    return np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)


def archive(path, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def records(pictures):
    planes = pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1)
    labels = np.arange(len(pictures), dtype=np.uint8)[:, None] % 2
    return np.concatenate([labels, planes], 1).tobytes()


def run(path, output):
    return script(ROOT / "datasets/cifar10.py", "--archive", path, "--output", output)


def test_pictures_are_written_by_class_and_pixel_for_pixel(tmp_path, pictures):
    files = {"data_batch_1.bin": records(pictures[:6]), "test_batch.bin": records(pictures[6:])}
    path = archive(tmp_path / "a.tar.gz", {"batches.meta.txt": NAMES.encode(), **files, "readme.html": b"x"})
    done = run(path, tmp_path / "cifar10")
    assert done.returncode == 0, done.stderr
    train, test = find_split(tmp_path / "cifar10")
    for split, start in ((train, 0), (test, 6)):
        for i, name in enumerate(("cat", "dog")):
            written = [np.asarray(Image.open(p)) for p in sorted((split / name).iterdir())]
            expected = pictures[start:6] if start == 0 else pictures[6:]
            assert np.array_equal(written, expected[i::2])
    again = run(path, tmp_path / "cifar10")
    assert again.returncode == 2
    assert "is not an empty folder" in again.stderr


@pytest.mark.parametrize("files", [None, {"data_batch_1": b"a pickle"}, {"data_batch_1.bin": b"short"}])
def test_another_file_is_one_line(tmp_path, files):
    path = tmp_path / "a.tar.gz"
    path.write_text("no archive") if files is None else archive(path, {"batches.meta.txt": b"cat", **files})
    done = run(path, tmp_path / "out")
    assert done.returncode == 2
    assert "a.tar.gz: " in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
