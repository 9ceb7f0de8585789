"""Logits of videos against a slow loop, and figures against scikit-learn and loops."""

import numpy as np
import pytest
import torch
from diffmae_video.evaluation.classify import (
    Predictions,
    accuracy,
    average_precision,
    calibration_error,
    class_accuracy,
    classify,
    confusion_matrix,
    mean_average_precision,
)
from sklearn import metrics

from diffmae_video.data import ClipSampler, Entry, VideoError, ViewDataset, normalise, open_video
from diffmae_video.data.views import read_views
from diffmae_video.evaluation.evaluate import measure
from diffmae_video.evaluation.report import draw_confusion, write_classes, write_predictions
from diffmae_video.models import Classifier
from diffmae_video.runtime.processes import Process

ALONE = Process(rank=0, world=1, device=torch.device("cpu"))
SAMPLING, SIZE = ClipSampler(4, 2), (32, 24)


def tiny_classifier(classes=3, **arguments):
    model = Classifier(
        [f"class {i}" for i in range(classes)], SIZE, 4, (2, 8, 8), {"width": 32, "depth": 2, "heads": 2},
        dropout=0.5, **arguments,
    )  # fmt: skip
    torch.nn.init.normal_(model.head.weight)
    return model


@pytest.fixture(scope="module")
def entries(real_clips):
    stretches = [("bikes", 0, 1), ("carphone_pristine", 0, 2), ("bikes", 2, 4), ("bigbuckbunny", 1, None)]
    return [Entry(str(real_clips[name]), start, end) for name, start, end in stretches]


def dataset(entries, temporal, spatial, policy="fail"):
    return ViewDataset(entries, SAMPLING, SIZE, temporal, spatial, policy, backend="pyav")


@torch.no_grad()
def one_by_one(model, entries, temporal, spatial):
    """The same in a loop: a video is opened, and its views go through the model one at a time."""
    model.eval()
    result = []
    for entry in entries:
        with open_video(entry.path, "pyav") as video:
            views = read_views(video, entry, SAMPLING, SIZE, temporal, spatial)
        assert views.shape == (temporal * spatial, 4, *SIZE, 3)
        result.append(torch.cat([model(normalise(view[None], model.mean, model.std)) for view in views]))
    return torch.stack(result).mean(1)


@pytest.mark.parametrize(
    ("temporal", "spatial", "batch", "workers"), [(2, 3, 4, 0), (1, 2, 5, 1), (1, 1, 16, 0)]
)
def test_logits_are_those_of_a_slow_loop(entries, temporal, spatial, batch, workers):
    model = tiny_classifier(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)).train()
    sizes = []
    hook = model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    found = classify(model, dataset(entries, temporal, spatial), ALONE, batch, workers)
    hook.remove()
    assert all(module.training for module in model.modules())
    assert max(sizes) <= batch
    assert sum(sizes) == len(entries) * temporal * spatial
    assert found.was_read.all()
    assert found.faults == [""] * len(entries)
    torch.testing.assert_close(found.logits, one_by_one(model, entries, temporal, spatial))
    assert found.logits.std(0).min() > 0.01  # which tells the videos apart


def test_one_clip_at_a_time_they_are_those_of_the_loop_bit_by_bit(entries):
    model = tiny_classifier()
    found = classify(model, dataset(entries, 2, 2), ALONE, batch=1, workers=0)
    assert torch.equal(found.logits, one_by_one(model, entries, 2, 2))


def test_a_video_that_cannot_be_read_has_its_reason_and_moves_no_other(entries, tmp_path):
    model, bad = tiny_classifier(), Entry(str(tmp_path / "none.mp4"))
    listed = [bad, entries[0], bad, entries[1], entries[2]]
    found = classify(model, dataset(listed, 1, 2, "skip"), ALONE, batch=4, workers=0)
    assert found.was_read.tolist() == [False, True, False, True, True]
    assert [bool(fault) for fault in found.faults] == [True, False, True, False, False]
    assert "none.mp4: no such file" in found.faults[0]
    assert not found.logits[~found.was_read].any()
    torch.testing.assert_close(found.logits[found.was_read], one_by_one(model, entries[:3], 1, 2))
    with pytest.raises(VideoError, match=r"none\.mp4"):
        classify(model, dataset(listed, 1, 2), ALONE, batch=4, workers=0)


@pytest.fixture
def scores():
    """Logits of 200 videos of seven classes that are right more often than not, and their labels."""
    labels = torch.randint(7, (200,))
    return torch.randn(200, 7) + 2 * torch.nn.functional.one_hot(labels, 7), labels


def test_accuracies_and_confusions_are_those_of_scikit_learn(scores):
    logits, labels = scores
    for k in (1, 2, 5):
        assert accuracy(logits, labels, k) == pytest.approx(metrics.top_k_accuracy_score(labels, logits, k=k))
    predicted = logits.argmax(1)
    matrix = confusion_matrix(predicted, labels, 7)
    assert torch.equal(matrix, torch.from_numpy(metrics.confusion_matrix(labels, predicted)))
    by_class = class_accuracy(predicted == labels, labels, 8)
    assert by_class[:7].numpy() == pytest.approx(metrics.recall_score(labels, predicted, average=None))
    assert by_class[7].isnan()


def test_the_calibration_error_is_that_of_a_loop(scores):
    logits, labels = scores
    probabilities = logits.softmax(1)
    total = 0.0
    for i in range(15):
        inside = [
            (float(row.max()), bool(row.argmax() == label))
            for row, label in zip(probabilities, labels, strict=True)
            if i / 15 < float(row.max()) <= (i + 1) / 15
        ]
        if inside:
            confidence, right = np.mean(inside, axis=0)
            total += len(inside) / len(labels) * abs(confidence - right)
    assert calibration_error(probabilities, labels) == pytest.approx(total)
    certain = torch.eye(7)[labels]
    assert calibration_error(certain, labels) == 0
    assert calibration_error(certain, (labels + 1) % 7) == 1


def test_average_precisions_are_those_of_scikit_learn():
    scores, targets = torch.randn(100, 5).round(decimals=1), (torch.rand(100, 5) < 0.3).float()  # with ties
    ours = average_precision(scores, targets)
    assert ours.numpy() == pytest.approx(metrics.average_precision_score(targets, scores, average=None))
    assert mean_average_precision(scores, targets) == pytest.approx(float(ours.mean()))
    targets[:, 2] = 0
    assert average_precision(scores, targets)[2].isnan()
    assert mean_average_precision(scores, targets) == pytest.approx(float(ours[[0, 1, 3, 4]].mean()))


def test_unread_videos_count_as_wrong_or_not_at_all():
    logits = torch.tensor([[3.0, 0, 0], [0, 3, 0], [0, 0, 0], [3, 0, 0]])
    found = Predictions(logits, torch.tensor([True, True, False, True]), ["", "", "broken", ""])
    labels, model = torch.tensor([0, 1, 0, 1]), tiny_classifier()
    by_class, wrong = measure(model, found, labels, torch.ones(4, dtype=torch.bool))
    assert (wrong["top1"], wrong["top5"], wrong["mean_class_accuracy"]) == (0.5, 0.75, 0.5)
    assert by_class["videos"].tolist() == [2, 2, 0]
    assert by_class["correct"].tolist() == [1, 1, 0]
    by_class, left_out = measure(model, found, labels, found.was_read)
    assert left_out["top1"] == pytest.approx(2 / 3)
    assert (left_out["top5"], left_out["mean_class_accuracy"]) == (1, 0.75)
    assert left_out["ece"] == wrong["ece"]
    assert by_class["videos"].tolist() == [1, 2, 0]

    targets = torch.eye(3)[labels]
    several = tiny_classifier(multi_label=True)
    assert measure(several, found, targets, found.was_read)[1]["map"] == pytest.approx((1 / 2 + 5 / 6) / 2)
    everything = torch.ones(4, dtype=torch.bool)
    expected = ((1 / 2 + 2 / 4) / 2 + 5 / 6) / 2  # of class 0 the unread one comes last; class 1 has none
    assert measure(several, found, targets, everything)[1]["map"] == pytest.approx(expected)


def test_tables_and_pictures_take_any_names(tmp_path):
    names = ['say "ü", they', "b"]
    listed = [Entry("a,b.mp4", label=names[0]), Entry("c\udcff.mp4", 1.5, 2.0, "b")]
    probabilities = torch.tensor([[0.75, 0.25], [0.5, 0.5]])
    path = tmp_path / "table.csv"
    write_predictions(path, listed, [names[0], ""], ["", "c: broken, twice"], probabilities, names)
    header, first, second = path.read_text().splitlines()
    assert (
        header == "path,start,end,label,predicted,was_read,reason,class_1,probability_1,class_2,probability_2"
    )
    assert first == '"a,b.mp4",0.0,,"say ""ü"", they","say ""ü"", they",true,,"say ""ü"", they",0.75,b,0.25'
    assert second == 'c\\udcff.mp4,1.5,2.0,b,,false,"c: broken, twice",,,,'
    write_classes(path, names, {"videos": torch.tensor([2, 0]), "accuracy": torch.tensor([0.5, torch.nan])})
    assert path.read_text().splitlines()[2] == "b,0,"
    for count in (2, 60):  # with names and without
        matrix = torch.eye(count, dtype=torch.int64)
        draw_confusion(tmp_path / f"{count}.png", matrix, [rf"$\no_{i}$" for i in range(count)])
        assert (tmp_path / f"{count}.png").read_bytes()[:4] == b"\x89PNG"
