"""Accuracy with frames in order and shuffled, checked by hand."""

import pytest
import torch

from diffmae_video import load_config
from diffmae_video.data import Entry, normalise, open_video, write_list
from diffmae_video.encoding.clips import write_video
from diffmae_video.models import Classifier
from diffmae_video.randomness import random_state
from diffmae_video.studies.shuffled_frames import accuracy_by_frame_order
from tests.repository import ROOT


def test_classes_without_an_order_do_not_count(tmp_path):
    """Three clips of four noisy frames; each clip's frames are put in its own random order."""
    clips = torch.randint(0, 255, (3, 4, 32, 32, 3), generator=torch.Generator().manual_seed(0)).byte()
    labels = ["left", "shake", "right"]
    for i, clip in enumerate(clips):
        write_video(tmp_path / f"{i}.mp4", clip.numpy(), 4, crf=0)
    entries = [Entry(str(tmp_path / f"{i}.mp4"), label=label) for i, label in enumerate(labels)]
    write_list(tmp_path / "val.csv", entries)
    encoder = {"width": 24, "depth": 1, "heads": 2}
    model = Classifier(["left", "right", "shake"], (32, 32), 4, (1, 8, 8), encoder=encoder)
    torch.manual_seed(1)
    torch.nn.init.normal_(model.head.weight)
    model.eval().save_pretrained(tmp_path)
    options = [*("DATA.VAL", tmp_path / "val.csv", "DATA.NUM_FRAMES", 4, "DATA.SIZE", 32, "DATA.STRIDE", 1)]
    cfg = load_config(ROOT / "configs/recognition/motions/finetune.yaml", [*options, "DATA.WORKERS", 0])
    (tmp_path / "config.yaml").write_text(cfg.dump())
    top1 = accuracy_by_frame_order(tmp_path)

    right = []
    for i, label in enumerate(labels):
        with open_video(tmp_path / f"{i}.mp4") as video:
            frames = torch.from_numpy(video.frames(range(4)))
        order = torch.randperm(4, generator=random_state(0, i))
        clip = normalise(frames[order][None], model.mean, model.std)
        right.append(model.classes[int(model(clip).argmax())] == label)
    assert top1["shuffled"] == pytest.approx(sum(right) / 3)
    assert top1["shuffled_ordered"] == pytest.approx((right[0] + right[2]) / 2)
