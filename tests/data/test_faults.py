"""A list with every kind of bad file: the run goes on, and each failed read is recorded."""

import itertools
import json
import subprocess
import sys

import av
import numpy as np
import pytest
import torch

from diffmae_video import InputError
from diffmae_video.data import Entry, FaultLog, training_loader
from diffmae_video.data.faults import Fault
from diffmae_video.data.pretraining_clips import TrainingClips
from diffmae_video.data.random_clips import SampleKey
from diffmae_video.decoding.small_copies import resize_video
from diffmae_video.masks import Mask
from tests.data.small_datasets import clip_dataset
from tests.repository import ROOT

KINDS = ("missing", "empty", "truncated", "flipped", "text", "sound")


@pytest.fixture
def bad(tmp_path, real_clips):
    """Six files that cannot be read, by kind."""
    whole = real_clips["carphone_pristine"].read_bytes()
    paths = {kind: tmp_path / f"{kind}.mp4" for kind in KINDS}
    paths["empty"].write_bytes(b"")
    paths["truncated"].write_bytes(whole[: len(whole) // 2])
    paths["flipped"].write_bytes(bytes(b ^ 0xFF if i % 97 == 0 else b for i, b in enumerate(whole)))
    paths["text"].write_text("no video")
    with av.open(str(paths["sound"]), "w") as out:
        stream = out.add_stream("aac", rate=44100, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        sound.sample_rate = 44100
        out.mux(stream.encode(sound))
        out.mux(stream.encode(None))
    return paths


def dataset(paths, **kwargs):
    return clip_dataset([Entry(str(p)) for p in paths], size=(16, 16), repeats=1, **kwargs)


@pytest.mark.parametrize("workers", [0, 2])
def test_every_fault_is_recorded_once_a_read(bad, real_clips, tmp_path, workers):
    good = [real_clips["bikes"], real_clips["carphone_pristine"]] * 12
    data = dataset([*bad.values(), *good])  # 30 entries, a fifth of them bad
    log = FaultLog(tmp_path / "bad_videos.jsonl", 0.5, videos=2)
    batches = log.watch(iter(training_loader(data, 2, workers)))
    for _ in range(30):  # two epochs
        batch = next(batches)
        assert batch.clips.shape == (2, 4, 16, 16, 3)
        assert batch.clips.float().std() > 1
    rows = [json.loads(line) for line in (tmp_path / "bad_videos.jsonl").read_text().splitlines()]
    for path in bad.values():  # twice in its own place
        own = [r for r in rows if r["path"] == str(path) and r["attempt"] == 0]
        assert sorted(r["epoch"] for r in own) == [0, 1], path
        assert all(path.name in r["reason"] for r in own)
    assert len(rows) == log.failed
    assert {r["path"] for r in rows} == {str(p) for p in bad.values()}
    keys = [(r["epoch"], r["index"], r["attempt"]) for r in rows]
    assert len(set(keys)) == len(keys)


def test_what_is_read_in_its_place_depends_on_the_key_alone(bad, real_clips):
    paths = [bad["text"], real_clips["bikes"], real_clips["carphone_pristine"]]
    key = SampleKey(9, 3, 0)
    a, b = dataset(paths)[key], dataset(paths, backend="decord")[key]
    assert [f.attempt for f in a.faults] == list(range(len(a.faults)))
    assert a.faults[0].path == str(bad["text"])
    assert (a.clips.int() - b.clips.int()).abs().max() <= 3  # decord rounds colours down
    assert torch.equal(a.mask.masked, b.mask.masked)


def test_too_large_a_share_ends_the_run_with_the_reason(tmp_path):
    mask = Mask.random(1, (2, 2, 2), 0.5)
    fault = Fault("a.mp4", "a.mp4: no such file", 0, 0, 0)

    def batches(pattern):
        while True:
            for count in pattern:
                yield TrainingClips(torch.zeros(1, 4, 16, 16, 3), mask, torch.ones(1), (), (fault,) * count)

    log = FaultLog(tmp_path / "bad.jsonl", 0.3, videos=1)
    watched = log.watch(batches([0, 1]))
    message = r"of \d+ reads of videos failed, which exceeds DATA\.MAX_BAD_SHARE 0\.3; .*bad\.jsonl names"
    with pytest.raises(InputError, match=message):
        list(itertools.islice(watched, 1000))
    assert 100 <= log.reads < 110
    log = FaultLog(tmp_path / "bad.jsonl", 0.35, videos=1)  # a third is below it
    watched = log.watch(batches([0, 1]))
    assert sum(1 for _ in zip(range(300), watched, strict=False)) == 300


READS = """
import sys
from pathlib import Path
from diffmae_video.data import Entry
from diffmae_video.data.random_clips import SampleKey
from tests.data.small_datasets import clip_dataset
data = clip_dataset([Entry(p) for p in sys.argv[1:]], size=(16, 16), repeats=1, backend="decord")
def resident(pid):
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
reads, marks = 0, []
for epoch in range(10_000):
    for index in range(len(data)):
        reads += 1 + len(data[SampleKey(0, epoch, index)].faults)
    if reads >= (400, 2000)[len(marks)]:
        marks.append(resident("self") + resident(data.decoder.process.pid))
        if len(marks) == 2:
            break
print(*marks)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_over_2000_reads(bad, real_clips, tmp_path):
    """Resident memory of the reading process and of its decoder, after 400 reads and after 2,000."""
    small = tmp_path / "small.mp4"
    resize_video(real_clips["bikes"], small, 64, gop=4)
    command = [sys.executable, "-c", READS, *bad.values(), *[small] * 32]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    early, late = map(float, done.stdout.split())  # MB
    # a decoder that is kept takes a megabyte each time, and a heap in pieces 50 KB
    assert late - early < 15, (early, late)
