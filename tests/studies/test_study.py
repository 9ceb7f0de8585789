"""What a study says of its runs, in numbers that can be checked by hand."""

import csv
import io
from dataclasses import replace

import pytest
import torch
from PIL import Image

from diffmae_video import InputError, load_config
from diffmae_video.data import Entry, normalise, open_video, read_list, write_list
from diffmae_video.encoding.clips import write_video
from diffmae_video.models import Classifier
from diffmae_video.randomness import random_state
from diffmae_video.studies.study import (
    SHARES,
    Study,
    check_labels,
    check_unchanged,
    motion_checks,
    run_study,
    write_shares,
)
from diffmae_video.studies.tables import (
    final_probes,
    final_runs,
    percent,
    plot_study,
    study_csv,
    study_table,
)
from tests.repository import ROOT

RECIPES = ROOT / "configs/recognition/motions"


@pytest.fixture
def study(tmp_path):
    for i in range(60):
        (tmp_path / f"{i}.mp4").touch()
    write_list(tmp_path / "train.csv", [Entry(f"{i}.mp4", label="abc"[i % 3]) for i in range(60)])
    train = tmp_path / "train.csv"
    return Study("motions", RECIPES, train, train, 0, tmp_path / "out", 2)


def test_the_few_labels_are_a_tenth_of_each_class_and_the_seeds_own(study):
    lists = []
    for seed in (0, 1):
        write_shares(study, seed)
        few, whole = (read_list(study.folder(seed, f"{share}.csv")) for share in SHARES)
        assert sorted(e.label for e in few) == ["a", "a", "b", "b", "c", "c"]
        assert {e.path for e in few} < {e.path for e in whole}
        assert len(whole) == 60
        lists.append({e.path for e in few})
    assert lists[0] != lists[1]


def test_equal_steps_and_parts(study):
    runs = [study.finetuning(0, init, "few") for init in ("scratch", "mae", "diffmae")]
    options = [job.arguments[0] for job in runs]
    assert len({cfg.TRAIN.MAX_STEPS for cfg in options}) == 1
    assert [bool(cfg.FINETUNE.INIT) for cfg in options] == [False, True, True]
    assert study.steps("mae") == study.steps("diffmae")
    assert study.part(0, "mae", 4) == study.pretraining(0, "mae").folder
    quick = replace(study, quick=True, pretraining_steps={"mae": 90})
    assert quick.steps("mae") == 24  # parts of equal steps, each of which leaves a checkpoint
    longer = replace(study, pretraining_steps={"mae": 18000}).pretraining(0, "mae").arguments[0].TRAIN
    assert (longer.MAX_STEPS, longer.WARMUP_STEPS) == (18000, 600)  # the recipe's are 9,000 and 300


def test_a_recipe_in_epochs_keeps_its_warm_up(study, tmp_path):
    train = "{MAX_STEPS: 0, EPOCHS: 20, WARMUP_STEPS: 0, WARMUP_EPOCHS: 2}"
    (tmp_path / "own.yaml").write_text(f"_BASE_: {RECIPES / 'mae.yaml'}\nTRAIN: {train}\n")
    own = replace(study, recipes=tmp_path, systems=("own",), pretraining_steps={"own": 40})
    cfg = own.pretraining(0, "own").arguments[0].TRAIN
    assert (cfg.MAX_STEPS, cfg.WARMUP_STEPS, cfg.WARMUP_EPOCHS) == (40, 0, 2)


def test_labels_that_do_not_fit_are_told_before_the_work(study, tmp_path):
    check_labels(study)
    for entry, message in ((Entry("0.mp4", label="d"), "'d'"), (Entry("0.mp4"), "no label")):
        write_list(tmp_path / "val.csv", [entry])
        with pytest.raises(InputError, match=message):
            run_study(replace(study, val=tmp_path / "val.csv"), 1)
    assert not study.output.exists()


def test_a_run_of_another_budget_is_not_taken_for_this_one(study):
    job = study.pretraining(0, "mae")
    job.folder.mkdir(parents=True)
    (job.folder / "config.yaml").write_text(job.arguments[0].dump())
    check_unchanged([job, study.pretraining(0, "diffmae")])
    more = replace(study, pretraining_steps={"mae": 77}).pretraining(0, "mae")
    with pytest.raises(InputError, match=r"seed0/mae: holds a run with other options.*--output"):
        check_unchanged([more])


def trained(steps):
    return {"pretraining_steps": steps, "budget": steps}


RESULT = {
    "budget": "steps",
    "classes": 4,
    "val": 100,
    "labels": {"few": 10, "all": 100},
    "runs": [
        {
            "seed": seed,
            "init": init,
            "labels": share,
            "pretraining_steps": steps,
            "budget": steps,
            "top1": top1,
        }
        for init, steps, share, values in (
            ("scratch", 0, "few", (0.25, 0.35)),
            ("scratch", 0, "all", (0.5, 0.6)),
            ("mae", 100, "few", (0.4, 0.5)),
            ("mae", 200, "few", (0.5, 0.6)),
            ("mae", 200, "all", (0.7, 0.8)),
            ("diffmae", 100, "few", (0.45, 0.55)),
            ("diffmae", 200, "few", (0.6, 0.7)),
            ("diffmae", 200, "all", (0.8, 0.9)),
        )
        for seed, top1 in enumerate(values)
    ],
    "probes": [
        {
            "seed": seed,
            "init": init,
            "pretraining_steps": steps,
            "budget": steps,
            "linear": 0.3 + 0.001 * steps,
        }
        for init in ("mae", "diffmae")
        for steps in (100, 200)
        for seed in (0, 1)
    ]
    + [{"seed": seed, "init": "scratch", **trained(0), "linear": 0.2} for seed in (0, 1)],
    "motion": [
        {
            "as_it_is": 0.9,
            "shuffled": 0.3,
            "shuffled_ordered": 0.26,
            "one_frame_repeated": 0.2,
            "one_frame_model": 0.25,
        }
    ],
}


def test_the_table_is_of_the_whole_pre_training():
    assert final_runs(RESULT, "mae", "few") == [0.5, 0.6]
    assert final_probes(RESULT, "diffmae") == [0.5, 0.5]
    assert final_probes(RESULT, "scratch") == [0.2, 0.2]
    table = study_table(RESULT)
    assert "(chance 25.0)" in table
    assert (
        "| DiffMAE | 65.0 ± 7.1 (60.0, 70.0) | 85.0 ± 7.1 (80.0, 90.0) | 50.0 ± 0.0 (50.0, 50.0) |" in table
    )
    assert "| frames shuffled | 30.0 |" in table
    values = torch.tensor([0.31, 0.35, 0.42])
    assert percent(values.tolist()).startswith(f"{100 * values.mean():.1f} ± {100 * values.std():.1f}")


def test_the_csv_has_every_seed():
    rows = list(csv.DictReader(io.StringIO(study_csv(RESULT))))
    assert len(rows) == 3 * 3 * 2
    wanted = {"init": "mae", "figure": "fine-tuned, 10 labels", "seed": "1", "top1": "0.6"}
    assert wanted in rows


def test_a_system_of_ones_own_stands_beside_the_others(tmp_path):
    def own(rows):
        return rows + [row | {"init": "rho_04"} for row in rows if row["init"] == "mae"]

    result = RESULT | {"runs": own(RESULT["runs"]), "probes": own(RESULT["probes"])}
    lines = study_table(result).splitlines()
    mae = next(line for line in lines if line.startswith("| MAE |"))
    assert mae.replace("| MAE |", "| rho_04 |") in lines
    plot_study(result, tmp_path / "with.png")
    plot_study(RESULT, tmp_path / "without.png")
    assert (tmp_path / "with.png").read_bytes() != (tmp_path / "without.png").read_bytes()


def test_the_plot_has_a_panel_for_curves_where_there_are_any(tmp_path):
    final = [run for run in RESULT["runs"] if run["pretraining_steps"] != 100]
    widths = []
    for runs in (RESULT["runs"], final):
        plot_study(RESULT | {"runs": runs}, tmp_path / "plot.png")
        widths.append(Image.open(tmp_path / "plot.png").width)
    assert widths == [1300, 910]


def test_shuffled_clips_that_stay_what_they_are_do_not_count(tmp_path):
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
    found = motion_checks(tmp_path)

    right = []
    for i, label in enumerate(labels):
        with open_video(tmp_path / f"{i}.mp4") as video:
            frames = torch.from_numpy(video.frames(range(4)))
        order = torch.randperm(4, generator=random_state(0, i))
        clip = normalise(frames[order][None], model.mean, model.std)
        right.append(model.classes[int(model(clip).argmax())] == label)
    assert found["shuffled"] == pytest.approx(sum(right) / 3)
    assert found["shuffled_ordered"] == pytest.approx((right[0] + right[2]) / 2)
