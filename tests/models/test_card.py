"""The card of a run's folder: the hub's own reader takes it, and its figures are those of the folder."""

import json

import pytest
from huggingface_hub import ModelCard

from diffmae_video import InputError
from diffmae_video.models import Classifier, Encoder
from diffmae_video.models.card import convert_card, model_card, write_card
from tests.tiny_models import tiny_diffmae

RECIPE = (
    "MASK:\n  RATIO: 0.9\nDATA:\n  TRAIN: /home/me/secret/train.csv\n  STRIDE: 4\n"
    "TRAIN:\n  BATCH_SIZE: 8\n  PRECISION: bf16\n"
)
START = {"devices": {"my-host": ["H100", "H100"]}, "commit": "abc123", "packages": {"torch": "2.9.0"}}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "own_videos"
    model = Classifier(["a | b", "c"], (32, 32), 4, (2, 8, 8), {"width": 32, "depth": 1, "heads": 2})
    model.save_pretrained(folder)
    (folder / "config.yaml").write_text(RECIPE)
    (folder / "environment.json").write_text(json.dumps([START]))
    rows = [
        {"step": s, "loss": x, "top1": y} for s, x, y in ((10, 0.9, 0.5), (20, 0.8, 0.75), (30, 0.7, 0.625))
    ]
    (folder / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "evaluation").mkdir()
    metrics = {"top1": 0.71234567, "top5": 1.0, "ece": 0.05, "views": 15, "gflops": 12.5}
    (folder / "evaluation/metrics.json").write_text(json.dumps(metrics))
    return folder


def test_the_hub_reads_the_figures_of_the_folder(run):
    write_card(run)
    card = ModelCard.load(run / "README.md")
    data = card.data
    assert (data.library_name, data.pipeline_tag) == ("diffmae-video", "video-classification")
    assert data.model_name == "own_videos"
    assert {(r.metric_name, r.metric_value) for r in data.eval_results} == {
        ("top-1", 0.71234567),
        ("top-5", 1.0),
        ("calibration error", 0.05),
    }
    text = card.text
    for line in (
        "| top-1 | 0.7123 |",
        "| views | 15 |",
        "| metric | step 20, the best | step 30, the last |",
        "| top1 | 0.7500 | 0.6250 |",
        "| classes | a \\| b, c |",
        "| TRAIN.BATCH_SIZE | 8 |",
        "| devices | 2 x H100 |",
        "| torch | 2.9.0 |",
    ):
        assert line in text
    assert "MASK" not in text  # no part of fine-tuning
    assert "secret" not in text
    assert "my-host" not in text


def test_of_equally_accurate_models_the_best_has_the_lowest_loss(run):
    rows = [{"step": s, "loss": x, "top1": 0.5} for s, x in ((10, 0.9), (20, 0.7), (30, 0.8))]
    (run / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "| metric | step 20, the best | step 30, the last |" in model_card(run)


def test_of_several_labels_the_best_is_by_precision(run):
    rows = [{"step": s, "loss": x, "map": y} for s, x, y in ((10, 0.4, 0.5), (20, 0.8, 0.75), (30, 0.7, 0.6))]
    (run / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "| metric | step 20, the best | step 30, the last |" in model_card(run)


def test_the_best_model_of_a_run_has_its_figures(run):
    best = run / "best"
    best.mkdir()
    for name in ("config.json", "config.yaml"):
        (best / name).write_text((run / name).read_text())
    write_card(best)
    card = ModelCard.load(best / "README.md")
    assert card.data.model_name == "own_videos"
    assert card.data.eval_results is None  # the run's evaluation is that of its last step
    for line in ("| metric | step 20, the best | step 30, the last |", "| devices | 2 x H100 |"):
        assert line in card.text


def test_nothing_is_said_that_is_not_there(tmp_path):
    Encoder((32, 32), 1, (1, 8, 8), 32, 1, 2).save_pretrained(tmp_path / "bare")
    write_card(tmp_path / "bare")
    card = ModelCard.load(tmp_path / "bare/README.md")
    assert card.data.pipeline_tag == "feature-extraction"
    assert card.data.eval_results is None
    assert [line for line in card.text.splitlines() if line.startswith("##")] == ["## Use", "## The model"]


def test_pretraining(tmp_path):
    tiny_diffmae().save_pretrained(tmp_path)
    rows = [{"step": s, "loss": x, "knn": 0.5} for s, x in ((1, 0.4), (2, 0.3))]
    (tmp_path / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = model_card(tmp_path)
    assert "A DiffMAE, pre-trained on videos" in text
    assert "The encoder of a DiffMAE, pre-trained on videos" in model_card(tmp_path, "timm")
    assert "| metric | step 2, the last and best |" in text
    assert "| loss | 0.3000 |" in text


@pytest.mark.parametrize(
    ("to", "library", "use"),
    [
        ("timm", "timm", "timm.create_model"),
        ("hf-videomae", "transformers", "VideoMAEForVideoClassification"),
    ],
)
def test_converted_weights_keep_the_card(run, tmp_path, to, library, use):
    output = tmp_path / "out"
    output.mkdir()
    convert_card(run, output, to)
    card = ModelCard.load(output / "README.md")
    assert card.data.library_name == library
    assert use in card.text
    (run / "config.yaml").unlink()  # not a run
    (output / "README.md").unlink()
    convert_card(run, output, to)
    assert not list(output.iterdir())


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json of a model of this project"):
        write_card(tmp_path)
