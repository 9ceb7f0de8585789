"""Probes against slow loops and scikit-learn, and on toys that only one of them can solve."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from diffmae_video import InputError
from diffmae_video.encoding.clips import write_video
from diffmae_video.evaluation.probe import (
    attentive_probe,
    fit_logistic,
    held_out_fifth,
    knn_probe,
    linear_probe,
    probe,
)
from diffmae_video.models import Encoder
from tests.repository import ROOT


def slow_votes(train_x, train_y, x, allowed):
    cosine = {
        j: float(x @ train_x[j] / (x.norm() * train_x[j].norm())) for j in range(len(train_x)) if allowed(j)
    }
    votes = [0.0] * (int(train_y.max()) + 1)
    for j in sorted(cosine, key=cosine.get, reverse=True)[:20]:
        votes[train_y[j]] += math.exp(cosine[j] / 0.07)
    return votes.index(max(votes))


def test_knn_is_a_slow_loop(monkeypatch):
    monkeypatch.setattr("diffmae_video.evaluation.probe.ROWS", 16)  # several parts
    train_x, val_x = torch.randn(60, 8), torch.randn(41, 8)
    train_y, val_y = torch.randint(4, (60,)), torch.randint(5, (41,))
    right = [slow_votes(train_x, train_y, x, lambda _: True) == y for x, y in zip(val_x, val_y, strict=True)]
    assert knn_probe(train_x, train_y, val_x, val_y) == pytest.approx(np.mean(right))


def test_knn_leaves_out_what_it_is_told_to():
    x, y, videos = torch.randn(60, 8), torch.randint(4, (60,)), torch.randint(30, (60,))
    right = [slow_votes(x, y, x[i], lambda j, i=i: videos[j] != videos[i]) == y[i] for i in range(60)]
    same = videos[:, None] == videos[None]
    assert knn_probe(x, y, x, y, left_out=same) == pytest.approx(np.mean(right))


def test_knn_sees_classes_and_not_a_clips_own_video():
    labels = torch.arange(3).repeat_interleave(8)
    features = torch.eye(3)[labels] + 0.05 * torch.randn(24, 3)
    alone = torch.eye(24, dtype=torch.bool)
    assert knn_probe(features, labels, features, labels, left_out=alone) == 1
    # Each video is its own class: all that could help a clip is left out.
    same = labels[:, None] == labels[None]
    assert knn_probe(features, labels, features, labels, left_out=same) == 0


def overlapping_classes(count, width=12, classes=4):
    """Features whose classes overlap, on scales from 0.01 to 100."""
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(5))
    x = centres[labels] + 1.5 * torch.randn(count, width)
    return x * torch.logspace(-2, 2, width) + 3, labels


@pytest.mark.parametrize("penalty", [1.0, 1e-2, 1e-4])
def test_logistic_regression_is_scikit_learns(penalty):
    x, y = overlapping_classes(300)
    x = torch.from_numpy(StandardScaler().fit_transform(x.double()))
    theirs = LogisticRegression(C=1 / (len(x) * penalty), tol=1e-8, max_iter=10_000).fit(x, y)
    weight, bias = fit_logistic(x, y, penalty, 4)
    ours = F.softmax(F.linear(x, weight, bias), 1)
    assert np.abs(ours.numpy() - theirs.predict_proba(x)).max() < 1e-4
    assert log_loss(y, ours) == pytest.approx(log_loss(y, theirs.predict_proba(x)), abs=1e-5)


def test_the_linear_probe_is_scikit_learns_pipeline():
    (train_x, train_y), (val_x, val_y) = (overlapping_classes(count, width=40) for count in (150, 1000))
    scaler = StandardScaler().fit(train_x.double())
    held_out = held_out_fifth(train_y, seed=3)
    penalties = [100.0, 1.0, 1e-2, 1e-6]

    def fit(rows, penalty):
        x, y = scaler.transform(train_x[rows].double()), train_y[rows]
        return LogisticRegression(C=1 / (len(x) * penalty), tol=1e-8, max_iter=10_000).fit(x, y)

    def cost(penalty):
        fitted, y = fit(~held_out, penalty), train_y[held_out]
        x = scaler.transform(train_x[held_out].double())
        return -fitted.score(x, y), log_loss(y, fitted.predict_proba(x))

    best = min(penalties, key=cost)
    assert best not in (penalties[0], penalties[-1])  # so that the choice is one
    expected = fit(torch.ones(150, dtype=torch.bool), best).score(scaler.transform(val_x.double()), val_y)
    assert 0.5 < expected < 1
    found = linear_probe(train_x, train_y, val_x, val_y, penalties, seed=3)
    assert found == pytest.approx(expected, abs=0.003)


def test_a_fifth_of_each_class_is_held_out():
    labels = torch.randint(3, (200,))
    held_out = held_out_fifth(labels, seed=0)
    assert torch.equal(held_out, held_out_fifth(labels, seed=0))
    assert not torch.equal(held_out, held_out_fifth(labels, seed=1))
    for label in range(3):
        assert float(held_out[labels == label].float().mean()) == pytest.approx(0.2, abs=0.03)


def test_validation_has_no_part_in_the_choice_of_the_penalty():
    """The same classifier, whatever is asked of it: each row's answer is its own."""
    (train_x, train_y), (val_x, val_y) = overlapping_classes(100), overlapping_classes(60)
    whole = linear_probe(train_x, train_y, val_x, val_y)
    parts = [
        linear_probe(train_x, train_y, val_x[i : i + 20], val_y[i : i + 20], seed=0) for i in (0, 20, 40)
    ]
    assert whole == pytest.approx(np.mean(parts))


def two_marks(count):
    """Tokens [n, 8, 16] of noise; in class 1, dimensions 1 and 2 of one of them have the same sign.

    Another token takes both away again, so that the mean over tokens is the same in both classes.
    """
    labels = torch.arange(count) % 2
    tokens = 0.3 * torch.randn(count, 8, 16)
    for row, label in zip(tokens, labels, strict=True):
        first, second = torch.randperm(8)[:2]
        sign = 1 if torch.rand(()) < 0.5 else -1
        mark = torch.tensor([sign if label else -sign, sign]) * 4
        row[first, 0] += 4  # the one to look at
        row[first, 1:3] += mark
        row[second, 1:3] -= mark
    return tokens, labels


def test_the_attentive_probe_sees_what_the_mean_over_tokens_hides():
    (train_x, train_y), (val_x, val_y) = two_marks(400), two_marks(200)
    mean = linear_probe(train_x.mean(1), train_y, val_x.mean(1), val_y)
    assert abs(mean - 0.5) < 0.12
    assert attentive_probe(train_x, train_y, val_x, val_y, steps=200) > 0.95


def test_random_labels_stay_at_chance_and_the_seed_decides():
    train_x, val_x = torch.randn(200, 4, 16), torch.randn(400, 4, 16)
    train_y, val_y = torch.randint(4, (200,)), torch.randint(4, (400,))
    state = torch.get_rng_state()
    found = [attentive_probe(train_x, train_y, val_x, val_y, steps=60, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert found[0] == found[1] != found[2]
    pooled = train_x.mean(1), train_y, val_x.mean(1), val_y
    for accuracy in (*found, linear_probe(*pooled), knn_probe(*pooled)):
        assert abs(accuracy - 0.25) < 0.09  # four standard deviations


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


def test_every_probe_tells_dark_films_from_bright_ones(still_films, monkeypatch):
    monkeypatch.setattr("diffmae_video.evaluation.probe.LEAST_STEPS", 60)
    figures = probe(still_films / "encoder", lists(still_films))
    about = {"classes": 2, "train": 20, "val": 8, "dim": 32}
    assert figures == {"linear": 1.0, "attentive": 1.0, "knn": 1.0, **about}


def test_the_tools_last_line_is_one_json_object(still_films):
    flags = ["--checkpoint", str(still_films / "encoder"), "--kind", "linear", *lists(still_films)]
    done = subprocess.run(
        [sys.executable, ROOT / "tools/probe.py", *flags], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures == {"linear": 1.0, "classes": 2, "train": 20, "val": 8, "dim": 32}


def test_lists_that_do_not_serve_are_told(still_films, tmp_path):
    checkpoint = still_films / "encoder"
    with pytest.raises(InputError, match=r"DATA\.VAL: give a labelled list"):
        probe(checkpoint, lists(still_films)[:2])
    with pytest.raises(InputError, match=r"MULTI_LABEL: a probe takes one label"):
        probe(checkpoint, [*lists(still_films), "FINETUNE.MULTI_LABEL", True])
    clip = still_films / "val/dark/0.mp4"
    for line, message in ((f"{clip} grey", "label 'grey' is none of the 2"), (str(clip), "has no label")):
        (tmp_path / "val.txt").write_text(line)
        with pytest.raises(InputError, match=message):
            probe(checkpoint, [*lists(still_films), "DATA.VAL", str(tmp_path / "val.txt")])
