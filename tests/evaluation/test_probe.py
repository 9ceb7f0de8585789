"""Probes of a checkpoint on lists of films."""

import json

import numpy as np
import pytest
import torch

from diffmae_video import InputError
from diffmae_video.encoding.clips import write_video
from diffmae_video.evaluation.probe import probe
from diffmae_video.models import Encoder
from tests.calls import diffmae


@pytest.fixture(scope="module")
def still_films(tmp_path_factory):
    """Folders of films that are dark or bright, and a tiny encoder of 4 frames of 16 x 16."""
    folder, chance = tmp_path_factory.mktemp("probed"), np.random.default_rng(0)
    for split, count in (("train", 10), ("val", 4)):
        for i in range(count):
            for name, level in (("dark", 40), ("bright", 200)):
                frames = np.clip(level + chance.normal(0, 20, (6, 16, 16, 3)), 0, 255).astype(np.uint8)
                path = folder / split / name / f"{i}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_video(path, frames, fps=6)
    torch.manual_seed(0)
    Encoder((16, 16), 4, (2, 8, 8), width=32, depth=2, heads=2).save_pretrained(folder / "encoder")
    return folder


def lists(folder):
    return ["DATA.TRAIN", str(folder / "train"), "DATA.VAL", str(folder / "val"), "DATA.STRIDE", "1"]


def test_every_probe_tells_dark_films_from_bright_ones(still_films):
    figures = probe(still_films / "encoder", lists(still_films))
    about = {"classes": 2, "train": 20, "val": 8, "dim": 32}
    assert figures == {"linear": 1.0, "attentive": 1.0, "knn": 1.0, **about}


def test_the_tools_last_line_is_one_json_object(still_films):
    flags = ["--checkpoint", str(still_films / "encoder"), "--kind", "linear", *lists(still_films)]
    done = diffmae("probe", *flags)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures == {"linear": 1.0, "classes": 2, "train": 20, "val": 8, "dim": 32}


def test_lists_that_do_not_serve_are_told(still_films, tmp_path):
    checkpoint = still_films / "encoder"
    with pytest.raises(InputError, match=r"DATA\.VAL: give a labelled list"):
        probe(checkpoint, lists(still_films)[:2])
    with pytest.raises(InputError, match=r"MULTI_LABEL: probes need one label"):
        probe(checkpoint, [*lists(still_films), "FINETUNE.MULTI_LABEL", True])
    clip = still_films / "val/dark/0.mp4"
    for line, message in ((f"{clip} grey", "label 'grey' is not one of the 2"), (str(clip), "has no label")):
        (tmp_path / "val.txt").write_text(line)
        with pytest.raises(InputError, match=message):
            probe(checkpoint, [*lists(still_films), "DATA.VAL", str(tmp_path / "val.txt")])
