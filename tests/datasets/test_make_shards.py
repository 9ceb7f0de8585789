"""datasets/make_shards.py as a user runs it."""

import json

import pytest
import torch

from diffmae_video.data import Entry, read_list, training_loader, write_list
from diffmae_video.decoding.storage import fetch
from tests.calls import script
from tests.data.small_datasets import clip_dataset
from tests.repository import ROOT


def make(*arguments):
    return script(ROOT / "datasets/make_shards.py", *arguments)


@pytest.fixture
def listed(tmp_path, films):
    """A list of the films with labels, one of them twice, and one with a stretch of time."""
    paths = sorted(films.glob("*.mp4"))
    entries = [Entry(str(path), label=f"class {i % 2}") for i, path in enumerate(paths)]
    entries += [Entry(str(paths[0]), 0.25, 1.0, "class 1")]
    write_list(tmp_path / "list.csv", entries)
    return tmp_path / "list.csv", entries


def test_a_run_reads_the_same_from_shards(tmp_path, listed):
    path, entries = listed
    done = make(path, "--output", tmp_path / "shards", "--shard-mb", 0.02)
    assert done.returncode == 0, done.stderr
    packed = read_list(tmp_path / "shards/list.csv")
    assert len(list((tmp_path / "shards").glob("shard-*.tar"))) > 1
    assert [(e.start, e.end, e.label) for e in packed] == [(e.start, e.end, e.label) for e in entries]
    for before, after in zip(entries, packed, strict=True):
        with open(before.path, "rb") as file:  # noqa: PTH123
            assert fetch(after.path) == file.read()
    batches = [iter(training_loader(clip_dataset(e, num_frames=2), 2, 1)) for e in (entries, packed)]
    for _ in range(8):  # two epochs
        plain, stored = (next(b) for b in batches)
        assert torch.equal(plain.clips, stored.clips)
        assert plain.samples == stored.samples
        assert torch.equal(plain.mask.masked, stored.mask.masked)


def test_webdataset_reads_them(tmp_path, listed):
    webdataset = pytest.importorskip("webdataset")
    path, entries = listed
    assert make(path, "--output", tmp_path / "shards").returncode == 0
    samples = list(webdataset.WebDataset(str(tmp_path / "shards/shard-000000.tar"), shardshuffle=False))
    assert len(samples) == 6
    first = json.loads(samples[0]["json"])
    assert first["path"] == entries[0].path
    assert [e["label"] for e in first["entries"]] == ["class 0", "class 1"]
    with open(entries[0].path, "rb") as file:  # noqa: PTH123
        assert samples[0]["mp4"] == file.read()


def test_it_continues_and_writes_the_same_bytes(tmp_path, listed):
    path, _ = listed
    options = ("--output", tmp_path / "shards", "--shard-mb", 0.02)
    assert make(path, *options).returncode == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "shards").iterdir()}
    kept, lost = sorted((tmp_path / "shards").glob("shard-*.tar"))[:2]
    time = kept.stat().st_mtime_ns
    lost.unlink()
    (tmp_path / "shards/list.csv").unlink()
    assert make(path, *options).returncode == 0
    assert {p.name: p.read_bytes() for p in (tmp_path / "shards").iterdir()} == before
    assert kept.stat().st_mtime_ns == time
    other = make(path, "--output", tmp_path / "shards", "--shard-mb", 1)
    assert other.returncode == 2
    assert "give another --output" in other.stderr
    kept.write_bytes(kept.read_bytes()[:3000])
    damaged = make(path, *options)
    assert damaged.returncode == 2
    assert f"{kept}: " in damaged.stderr
    assert "delete it and run this again" in damaged.stderr


def test_missing_files_are_named_and_left_out(tmp_path, films):
    good = sorted(films.glob("*.mp4"))[:2]
    write_list(tmp_path / "list.csv", [Entry(str(good[0])), Entry("none.mp4"), Entry(str(good[1]))])
    done = make(tmp_path / "list.csv", "--output", tmp_path / "shards")
    assert done.returncode == 1
    assert f"left out: {tmp_path / 'none.mp4'}" in done.stdout
    assert len(read_list(tmp_path / "shards/list.csv")) == 2


def test_frames_and_other_shards_are_refused(tmp_path, listed):
    path, _ = listed
    assert make(path, "--output", tmp_path / "shards").returncode == 0
    again = make(tmp_path / "shards/list.csv", "--output", tmp_path / "more")
    assert again.returncode == 2
    assert "only local files are packed" in again.stderr
