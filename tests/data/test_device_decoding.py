"""Decoding on the training device, here the CPU: by torchcodec if it is installed, and else by PyAV."""

import importlib.util

import pytest
import torch

from diffmae_video.data import Entry, training_loader
from diffmae_video.data import device_decoding as module
from diffmae_video.data.device_decoding import DeviceDecoder, resolve_device_decoding
from diffmae_video.data.pretraining_clips import EncodedFrames
from diffmae_video.decoding import VideoError, open_video
from diffmae_video.decoding.storage import MemoryFile
from diffmae_video.decoding.tiny_videos import TinyVideos
from diffmae_video.errors import InputWarning
from tests.data.small_datasets import clip_dataset

CPU = torch.device("cpu")


@pytest.fixture
def entries(films, tmp_path):
    """Six good films and a bad one."""
    (tmp_path / "text.mp4").write_text("no video")
    return [Entry(str(p)) for p in [*sorted(films.glob("*.mp4")), tmp_path / "text.mp4"]]


@pytest.fixture
def decoder(monkeypatch):
    """Decodes with PyAV in place of torchcodec, except videos that the test calls undecodable."""
    undecodable = set()

    def decode(data, path, num_frames, indices, device):
        if path in undecodable:
            raise VideoError(f"{path}: not on this device")
        file = MemoryFile(bytes(data.numpy()), ".mp4")
        with open_video(file.path, "pyav") as video:
            assert video.num_frames == num_frames
            return torch.from_numpy(video.frames(indices)).to(device)

    monkeypatch.setattr(module, "decode_on_device", decode)
    return undecodable


def both(entries, count, workers=1):
    """The same batches, decoded by the loader and on the device."""
    plain = training_loader(clip_dataset(entries), 2, workers)
    there = clip_dataset(entries, decode_on_device=True)
    decoded = DeviceDecoder(there, CPU)(iter(training_loader(there, 2, workers)))
    return list(zip(range(count), iter(plain), decoded, strict=False))


def assert_equal(plain, decoded):
    assert torch.equal(plain.clips, decoded.clips)
    assert torch.equal(plain.mask.masked, decoded.mask.masked)
    assert torch.equal(plain.mask.visible, decoded.mask.visible)
    assert torch.equal(plain.t, decoded.t)
    assert plain.samples == decoded.samples
    assert plain.faults == decoded.faults


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_that_the_loader_decodes(entries, decoder, workers):
    batches = both(entries, 8, workers)
    assert sum(len(plain.faults) for _, plain, _ in batches) > 1
    for _, plain, decoded in batches:
        assert_equal(plain, decoded)


def test_a_video_that_the_device_cannot_decode_is_read_on_the_cpu(entries, decoder):
    decoder.update(entry.path for entry in entries[::2])
    for _, plain, decoded in both(entries, 8):
        assert_equal(plain, decoded)


def test_a_video_that_breaks_while_it_is_decoded_is_replaced_as_by_the_loader(
    entries, decoder, monkeypatch, tmp_path
):
    """A film whose last frames are damaged opens, but its frames cannot be read."""
    broken = entries[1].path
    decoder.add(broken)

    def read(self, video, clips):
        if video.path == broken and not self.decode_on_device:
            raise VideoError(f"{broken}: frame 3 cannot be decoded")
        return original(self, video, clips)

    original = module.ClipDataset.read
    monkeypatch.setattr(module.ClipDataset, "read", read)
    batches = both(entries, 8, workers=0)
    assert any(fault.path == broken for _, plain, _ in batches for fault in plain.faults)
    for _, plain, decoded in batches:
        assert_equal(plain, decoded)


def test_videos_that_torchcodec_reads_differently_are_decoded_by_the_loader(entries, decoder, monkeypatch):
    data = clip_dataset(entries, decode_on_device=True)
    batch = next(iter(training_loader(data, 2, 0)))
    assert all(isinstance(clip.frames, EncodedFrames) for clip in batch.clips)
    monkeypatch.setattr("diffmae_video.data.random_clips.TINY_VIDEOS", TinyVideos(0))  # opens them again
    monkeypatch.setattr("diffmae_video.decoding.process._GuardedReader.is_plain", False, raising=False)
    monkeypatch.setattr(
        "diffmae_video.decoding.process._GuardedReader.__setattr__",
        lambda self, name, value: None if name == "is_plain" else object.__setattr__(self, name, value),
    )
    assert all(
        isinstance(clip.frames, torch.Tensor) for clip in next(iter(training_loader(data, 2, 0))).clips
    )


def test_a_run_without_a_gpu_says_so_and_goes_on():
    assert not resolve_device_decoding(False, CPU)
    with pytest.warns(InputWarning, match="DATA.DECODE_ON_DEVICE is off, .* CPU: there is no GPU"):
        assert not resolve_device_decoding(True, CPU)


def test_a_gpu_that_cannot_decode_is_named(monkeypatch):
    monkeypatch.setattr(module, "device_problem", lambda device: f"no decoder on {device}")
    with pytest.warns(InputWarning, match="no decoder on cuda:0"):
        assert not resolve_device_decoding(True, torch.device("cuda", 0))


@pytest.mark.skipif(not importlib.util.find_spec("torchcodec"), reason="torchcodec is not installed")
def test_torchcodec_decodes_the_same_clips(entries):
    for _, plain, decoded in both(entries, 4):
        assert plain.samples == decoded.samples
        assert plain.faults == decoded.faults
        # Colours are interpolated differently; frames of other times would differ by more than 20 on average.
        assert (plain.clips.float() - decoded.clips.float()).abs().mean() < 2
