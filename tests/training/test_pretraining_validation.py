"""Validation in mid-run: figures against loops, the same at each call and on any number of processes."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch import distributed as dist

from diffmae_video import InputError, build_model, load_config
from diffmae_video.data import Entry, uniform_clips
from diffmae_video.runtime.processes import Process
from diffmae_video.tokens import gather_tokens, patchify
from diffmae_video.training import from_config
from diffmae_video.training.from_config import pretraining_validation
from diffmae_video.training.pretraining_validation import (
    choose_entries,
    spread_timesteps,
    timestep_ranges,
)
from tests.repository import ROOT

TINY = """
DATA.SIZE 32 DATA.NUM_FRAMES 4 DATA.STRIDE 1 DATA.REPEATS 1 TRAIN.BATCH_SIZE 4 MASK.RATIO 0.75
MODEL.ENCODER.WIDTH 32 MODEL.ENCODER.DEPTH 2 MODEL.ENCODER.HEADS 2
MODEL.DECODER.WIDTH 32 MODEL.DECODER.DEPTH 1 MODEL.DECODER.HEADS 2 VALIDATION.PICTURES 2
"""
ALONE = Process(rank=0, world=1, device=torch.device("cpu"))


@dataclass(frozen=True)
class Labelled(Entry):
    label: str | None = None


def config(*overrides):
    return load_config(ROOT / "configs/demo/pretrain.yaml", [*TINY.split(), *overrides])


@pytest.fixture
def held_out(tmp_path, real_clips):
    """A list of three stretches of two videos."""
    bikes, carphone = real_clips["bikes"], real_clips["carphone_pristine"]
    path = tmp_path / "val.csv"
    path.write_text(f"path,start,end\n{bikes},0,1\n{carphone},0,1\n{bikes},2,3\n")
    return path


def test_the_loss_is_the_one_of_the_formula_at_its_own_t(held_out):
    cfg = config("DATA.VAL", held_out, "VALIDATION.CLIPS", 6)
    model, calls = build_model(cfg), []
    model.register_forward_pre_hook(lambda _, args, kwargs: calls.append((args[0], kwargs)), with_kwargs=True)
    figures = pretraining_validation(cfg, ALONE).measure(model)
    assert sorted(figures) == ["loss", *(f"loss_t{i}" for i in range(10))]

    errors = [[] for _ in range(10)]
    for clip, given in calls:
        mask, t, noise = given["mask"], given["t"], given["noise"]
        x0 = gather_tokens(patchify(clip, model.patch), mask.masked)
        signal = model.schedule.alphas_cumprod[t - 1].float()[:, None, None]
        xt = signal.sqrt() * x0 + (1 - signal).sqrt() * noise
        with torch.no_grad():
            prediction = model.denoise(xt, t, model.encode_latents(clip, mask), mask)
        for at, error in zip(t.tolist(), ((prediction - x0) ** 2).mean((1, 2)).tolist(), strict=True):
            errors[math.ceil(at / 100) - 1].append(error)
    assert [len(part) for part in errors] == [6] * 10
    for i, part in enumerate(errors):
        assert figures[f"loss_t{i}"] == pytest.approx(np.mean(part), rel=1e-5)
    assert figures["loss"] == pytest.approx(np.mean(errors), rel=1e-5)


def test_the_task_is_the_same_at_each_call_and_training_is_left_as_it_was(held_out):
    cfg = config("DATA.VAL", held_out, "VALIDATION.CLIPS", 6)
    model = build_model(cfg).train()
    model.encoder.blocks[0].eval()  # say, a frozen one
    modes = [module.training for module in model.modules()]
    torch.manual_seed(3)
    np_state, state = np.random.get_state()[1].copy(), torch.get_rng_state()
    check = pretraining_validation(cfg, ALONE)
    first, picture = check.measure(model), check.picture(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], np_state)
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    torch.rand(5)
    assert check.measure(model) == first
    assert np.array_equal(check.picture(model), picture)
    other_seed = pretraining_validation(
        config("DATA.VAL", held_out, "VALIDATION.CLIPS", 6, "TRAIN.SEED", 9), ALONE
    )
    assert other_seed.measure(model) == first


@pytest.mark.parametrize("timesteps", [1000, 10, 7, 1, 1003])
def test_buckets_are_a_partition_and_their_timesteps_even(timesteps):
    buckets = timestep_ranges(timesteps)
    assert [t for bucket in buckets for t in bucket] == list(range(1, timesteps + 1))
    assert max(map(len, buckets)) - min(map(len, buckets)) <= 1
    for bucket in buckets:
        t = spread_timesteps(torch.arange(200), bucket)
        assert set(t.tolist()) <= set(bucket)
        counts = np.histogram(t, bins=min(10, len(bucket)), range=(bucket.start, bucket.stop))[0]
        assert counts.max() - counts.min() <= 3


def labelled(paths):
    return [Labelled(str(path), start, start + 0.5, label) for path, start, label in paths]


def measure_on_a_rank(rank, world, folder, entries, overrides, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    from_config.read_list = lambda *_, **__: entries
    cfg = config(*overrides)
    torch.manual_seed(0)
    model = build_model(cfg)
    check = pretraining_validation(cfg, Process(rank, world, torch.device("cpu")))
    results[rank] = check.measure(model), check.picture(model)
    dist.destroy_process_group()


def test_two_processes_measure_what_one_does(tmp_path, real_clips, monkeypatch):
    bikes, bunny, broken = real_clips["bikes"], real_clips["bigbuckbunny"], tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    starts = [0.0, 1.0, 2.0]
    entries = labelled(
        [(bikes, s, "ride") for s in starts] + [(bunny, s, "hop") for s in starts] + [(broken, 0.0, "hop")]
    )
    overrides = ["DATA.VAL", "list", "VALIDATION.CLIPS", 7]
    monkeypatch.setattr(from_config, "read_list", lambda *_, **__: entries)
    cfg = config(*overrides)
    torch.manual_seed(0)
    check = pretraining_validation(cfg, ALONE)
    assert check.was_read.sum() == 6
    torch.manual_seed(0)
    model = build_model(cfg)
    figures, picture = check.measure(model), check.picture(model)
    assert 0 <= figures["knn"] <= 1
    with mp.Manager() as manager:
        results = manager.dict()
        mp.spawn(measure_on_a_rank, (2, tmp_path, entries, overrides, results), nprocs=2)
        (first, shown), (second, nothing) = results[0], results[1]
    assert first == second
    assert first == pytest.approx(figures, rel=1e-5)
    assert np.array_equal(shown, picture)
    assert nothing is None


def test_a_video_that_cannot_be_read_is_left_out_and_named(held_out, tmp_path, capsys):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    cfg = config("DATA.VAL", held_out, "VALIDATION.CLIPS", 3)
    model = build_model(cfg)
    whole = pretraining_validation(cfg, ALONE).measure(model)
    with held_out.open("a") as file:
        file.write("broken.mp4,0,1\n")
    rest = pretraining_validation(config("DATA.VAL", held_out, "VALIDATION.CLIPS", 4), ALONE).measure(model)
    assert rest == pytest.approx(whole, rel=1e-5)
    assert "broken.mp4" in capsys.readouterr().err
    held_out.write_text("path\nbroken.mp4\n")
    with pytest.raises(InputError, match=r"DATA\.VAL: none of its videos can be read"):
        pretraining_validation(cfg, ALONE)


def test_clips_are_spread_and_bounded(held_out):
    def rows(count):
        return len(
            pretraining_validation(config("DATA.VAL", held_out, "VALIDATION.CLIPS", count), ALONE).clips
        )

    assert [rows(n) for n in (1, 2, 3, 7, 1000)] == [1, 2, 3, 6, 24]
    check = pretraining_validation(config("DATA.VAL", held_out, "VALIDATION.CLIPS", 6), ALONE)
    entry = from_config.read_list(held_out)[1]
    assert torch.equal(check.clips[2:4], uniform_clips(entry, 2, 4, 1, (32, 32), "pyav"))


def test_with_labels_whole_classes_are_taken():
    entries = [Labelled(f"{c}-{i}", label=f"class {c}") for i in range(30) for c in range(10)]
    chosen = [entry.label for entry in choose_entries(entries, 63)]
    assert sorted(map(chosen.count, set(chosen))) == [21, 21, 21]
    assert choose_entries(entries, 63) == choose_entries(entries, 63)
    assert len(set(choose_entries(entries, 300))) == 300
    assert len(choose_entries(entries, 1000)) == 300
    plain = [replace(entry, label=None) for entry in entries]
    assert choose_entries(plain, 3) == [plain[0], plain[150], plain[299]]


@pytest.mark.parametrize("objective", ["diffmae", "mae"])
def test_the_picture_has_a_row_a_clip_and_truth_in_its_first_column(held_out, objective):
    cfg = config("DATA.VAL", held_out, "MODEL.OBJECTIVE", objective, "VALIDATION.CLIPS", 3)
    check = pretraining_validation(cfg, ALONE)
    figures, picture = check.measure(build_model(cfg)), check.picture(build_model(cfg))
    assert math.isfinite(figures["loss"])
    assert ("loss_t0" in figures) == (objective == "diffmae")
    columns, side, title, gap = 4 if objective == "diffmae" else 3, 224, 20, 6
    assert picture.shape == (2 * (side + title), columns * side + (columns - 1) * gap, 3)
    assert picture.dtype == np.uint8
    truth = uniform_clips(from_config.read_list(held_out)[0], 1, 4, 1, (32, 32), "pyav")[0, 2].numpy()
    enlarged = truth.repeat(7, axis=0).repeat(7, axis=1)
    assert np.abs(picture[title : title + side, :side].astype(int) - enlarged).max() <= 1
    masked = picture[title : title + side, side + gap : 2 * side + gap]
    hidden = np.abs(masked.astype(int) - 128).max(axis=2) <= 1
    assert 0.5 < hidden.mean() < 0.9
    sample = picture[title : title + side, -side:]
    assert np.abs(sample.astype(int) - enlarged)[~hidden].max() <= 1


def test_what_there_is_nothing_to_show_of_gives_no_picture(held_out):
    cfg = config("DATA.VAL", held_out, "MODEL.NORM_TARGET", True, "VALIDATION.CLIPS", 3)
    check = pretraining_validation(cfg, ALONE)
    assert check.picture(build_model(cfg)) is None
    assert math.isfinite(check.measure(build_model(cfg))["loss"])
    none = config("DATA.VAL", held_out, "VALIDATION.PICTURES", 0, "VALIDATION.CLIPS", 3)
    assert pretraining_validation(none, ALONE).picture(build_model(none)) is None


def test_a_model_in_bf16_is_measured_too(held_out):
    cfg = config("DATA.VAL", held_out, "VALIDATION.CLIPS", 3)
    check, model = pretraining_validation(cfg, ALONE), build_model(cfg)
    whole = check.measure(model)
    half = check.measure(model.to(torch.bfloat16))
    assert half == pytest.approx(whole, rel=0.05)
    assert check.picture(model).shape[2] == 3
