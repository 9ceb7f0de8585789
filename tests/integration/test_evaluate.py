"""tools/evaluate.py as users start it: alone and on two processes, with videos that cannot be read."""

import csv
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from diffmae_video import InputError, load_config
from diffmae_video.cli import shortened
from diffmae_video.config import load_recipe
from diffmae_video.cost.flops import count_macs
from diffmae_video.evaluation.evaluate_classifier import evaluate
from diffmae_video.models import Classifier, load_classifier
from diffmae_video.runtime.processes import free_port
from tests.calls import diffmae
from tests.integration.runs import CONFIG, TINY, environment, finish
from tests.repository import ROOT
from tests.tiny_models import tiny_diffmae

CLASSES = ["even", "odd", "neither"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, films):
    """A run's folder with a checkpoint and its average; its list has six films and two bad files."""
    folder = tmp_path_factory.mktemp("run")
    lines = [f"{film},{CLASSES[i % 2]}\n" for i, film in enumerate(sorted(films.glob("*.mp4")))]
    (folder / "text.mp4").write_text("no video")
    lines.insert(1, "text.mp4,odd\n")
    lines.insert(4, "missing.mp4,even\n")
    (folder / "val.csv").write_text("path,label\n" + "".join(lines))
    options = [*TINY, "DATA.VAL", folder / "val.csv", "EVALUATION.VIEWS", "2,3", "EVALUATION.BATCH_SIZE", 12]
    (folder / "config.yaml").write_text(load_config(CONFIG, options).dump())
    model = Classifier(CLASSES, (32, 32), 4, (2, 8, 8), {"width": 32, "depth": 2, "heads": 2})
    torch.nn.init.normal_(model.head.weight)
    checkpoint = folder / "checkpoints" / "step_00000001"
    model.save_pretrained(checkpoint)
    torch.nn.init.zeros_(model.head.weight)
    model.save_pretrained(folder / "average")
    (folder / "average" / "model.safetensors").rename(checkpoint / "ema.safetensors")
    return folder, checkpoint


def run_tool(ranks, checkpoint, output, *options):
    """The exit codes of the tool's processes, what the first one printed, and all that went to stderr.

    A single one is this process.
    """
    if ranks == 1:
        done = diffmae("evaluate", "--checkpoint", checkpoint, "--output", output, *options)
        return [done.returncode], done.stdout, done.stderr
    shared = {"WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    fixed = [ROOT / "tools/evaluate.py", "--checkpoint", checkpoint, "--output", output]
    return finish(
        [
            subprocess.Popen(
                [sys.executable, *map(str, [*fixed, *options])],
                env=environment(**shared, RANK=rank, LOCAL_RANK=rank),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(ranks)
        ]
    )


def test_two_processes_give_each_video_the_scores_of_one(tmp_path, run):
    _, checkpoint = run
    tables, figures, logits = [], [], []
    for ranks in (1, 2):
        output = tmp_path / str(ranks)
        codes, out, err = run_tool(ranks, checkpoint, output, "EVALUATION.POLICY", "wrong")
        assert codes == [0] * ranks, err
        told = f"2 of 8 videos could not be read and are counted as wrong; {output}/predictions.csv says why"
        assert err.splitlines() == [told]
        figures.append(json.loads((output / "metrics.json").read_text()))
        assert json.loads(out.splitlines()[-1]) == shortened(figures[-1])
        tables.append(list(csv.DictReader((output / "predictions.csv").open())))
        logits.append(load_file(output / "logits.safetensors"))
        assert {path.name for path in output.iterdir()} == {
            "metrics.json", "predictions.csv", "per_class.csv", "logits.safetensors", "confusion.png",
        }  # fmt: skip
    assert torch.equal(logits[0]["logits"], logits[1]["logits"])
    assert torch.equal(logits[0]["was_read"], logits[1]["was_read"])
    assert tables[0] == tables[1]
    assert figures[0] == figures[1]

    table, found = tables[0], figures[0]
    was_read = [row["was_read"] == "true" for row in table]
    assert was_read == logits[0]["was_read"].tolist() == [i not in (1, 4) for i in range(8)]
    assert "text.mp4" in table[1]["reason"]
    assert "missing.mp4: no such file" in table[4]["reason"]
    right = [row["predicted"] == row["label"] for row in table]
    assert found["top1"] == sum(right) / 8
    assert found["top5"] == 6 / 8  # of three classes all
    assert (found["videos"], found["unread"], found["views"]) == (8, 2, 6)
    macs = count_macs(load_classifier(checkpoint, averaged=False), torch.zeros(1, 3, 4, 32, 32))
    assert (found["gflops_per_view"], found["gflops"]) == pytest.approx((macs / 1e9, 6 * macs / 1e9))
    for row, values in zip(table, logits[0]["logits"].softmax(1), strict=True):
        if row["was_read"] == "true":
            assert float(row["probability_1"]) == pytest.approx(float(values.max()), rel=1e-5)
            assert row["class_1"] == row["predicted"] == CLASSES[values.argmax()]
    counts = {row["class"]: row["videos"] for row in csv.DictReader((tmp_path / "1/per_class.csv").open())}
    assert counts == {"even": "4", "odd": "4", "neither": "0"}


def test_videos_that_cannot_be_read_are_left_out(tmp_path, run):
    _, checkpoint = run
    options = ("--output", tmp_path, "EVALUATION.POLICY", "skip", "--ema")
    code, out, err = diffmae("evaluate", "--checkpoint", checkpoint, *options)
    assert code == 0, err
    assert "2 of 8 videos could not be read and are left out" in err
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert json.loads(out.splitlines()[-1]) == shortened(figures)
    assert (figures["videos"], figures["unread"], figures["top5"]) == (8, 2, 1)
    assert not load_file(tmp_path / "logits.safetensors")["logits"].any()  # the average's head is all 0
    assert figures["ece"] == pytest.approx(abs(1 / 3 - figures["top1"]))


def test_the_first_one_ends_it(tmp_path, run):
    _, checkpoint = run
    code, out, err = diffmae("evaluate", "--checkpoint", checkpoint, "--output", tmp_path)
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "text.mp4" in err
    assert not list(tmp_path.iterdir())


def test_wrong_folders_are_named(tmp_path, run):
    folder, checkpoint = run
    with pytest.raises(InputError, match=r"config\.yaml: no such file; give the folder"):
        load_recipe(tmp_path, [])
    assert load_recipe(checkpoint, ["EVALUATION.VIEWS", "7,3"]).EVALUATION.VIEWS == [7, 3]
    with pytest.raises(InputError, match=r"no config\.json"):
        load_classifier(folder, averaged=False)
    load_classifier(checkpoint, averaged=False).save_pretrained(tmp_path / "no average")
    with pytest.raises(InputError, match=r"ema\.safetensors: no such file; only runs with TRAIN\.EMA"):
        load_classifier(tmp_path / "no average", averaged=True)
    tiny_diffmae().save_pretrained(tmp_path / "other")
    with pytest.raises(
        InputError, match=r"holds a pre-trained DiffMAE, not a classifier; fine-tune it .*diffmae probe"
    ):
        load_classifier(tmp_path / "other", averaged=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["DATA.VAL", ""], r"DATA\.VAL: give a list"),
        (["DATA.VAL", "{films}"], "has no label"),
        (["EVALUATION.POLICY", "ignore"], "unknown value 'ignore'; there are fail, wrong, skip"),
        (["DATA.SIZE", "36"], "36"),
    ],
)
def test_mistakes_are_told_before_it_starts(tmp_path, run, films, options, message):
    options = [option.format(films=films) for option in options]
    with pytest.raises(InputError, match=message):
        evaluate(run[1], options, tmp_path / "none")
    assert not (tmp_path / "none").exists()
