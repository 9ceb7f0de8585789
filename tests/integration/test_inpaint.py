"""tools/inpaint.py as a user calls it, with a tiny model of random weights on real clips."""

import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import diffmae_video
from diffmae_video.cli import shortened
from diffmae_video.data import open_video
from diffmae_video.encoding.clips import write_video
from diffmae_video.errors import InputWarning
from diffmae_video.film.inpaint_film import scores_path, target_path
from diffmae_video.models import MAE, Encoder
from tests.calls import diffmae
from tests.encoding.test_writers import packets, sounding
from tests.integration.runs import environment
from tests.repository import ROOT
from tests.tiny_models import tiny_diffmae

TOOL = ROOT / "tools/inpaint.py"
BOX = (40, 30, 60, 50)
HOLE = (slice(None), slice(30, 80), slice(40, 100))  # of the box


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_diffmae(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)).save_pretrained(folder / "diffmae")
    tiny_diffmae(frames=1, patch=(1, 8, 8)).save_pretrained(folder / "image")
    narrow = {"width": 32, "depth": 1, "heads": 2}
    MAE((32, 32), 4, (2, 8, 8), narrow, narrow).save_pretrained(folder / "mae")
    MAE((32, 32), 4, (2, 8, 8), narrow, narrow, normalize_target=True).save_pretrained(folder / "normalised")
    Encoder((32, 32), 4, (2, 8, 8), width=8, depth=1, heads=2).save_pretrained(folder / "encoder")
    return folder


@pytest.fixture(scope="module")
def frames(real_clips):
    """Of carphone: uint8 [20, 144, 176, 3]."""
    with open_video(real_clips["carphone_pristine"], "pyav") as video:
        return video.frames(range(20))


@pytest.fixture(scope="module")
def film(tmp_path_factory, frames):
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_video(path, frames, 30000 / 1001)
    return path


@pytest.fixture
def inpaint(model):

    def run(source, target, *arguments, checkpoint="diffmae", code=0):
        fixed = ["--checkpoint", model / checkpoint, "--input", source, "--output", target, "--steps", 2]
        done = diffmae("inpaint", *fixed, *arguments)
        assert done.returncode == code, done.stderr
        if code:
            assert len(done.stderr.splitlines()) == 1
            return done.stderr
        run.said, run.printed = done.stderr.splitlines(), done.stdout.splitlines()
        result = json.loads(scores_path(target_path(str(target))).read_text())
        assert json.loads(run.printed[-1]) == shortened(result)
        return result

    return run


def read(path):
    if path.suffix == "":
        return np.stack([np.asarray(Image.open(p)) for p in sorted(path.iterdir())])
    with open_video(path, "pyav") as video:
        return video.frames(range(video.num_frames))


def outside(difference):
    rest = np.ones(difference.shape, bool)
    rest[HOLE] = False
    return difference[rest]


def test_the_hole_is_filled_and_other_pixels_stay(tmp_path, inpaint, film):
    result = inpaint(film, tmp_path / "a.png", "--mask", "40,30,60,50", "--samples", 2)
    truth, first, second = read(film), read(tmp_path / "a"), read(tmp_path / "a-2")
    assert first.shape == truth.shape == (20, 144, 176, 3)
    for one, other in ((first, truth), (second, truth), (first, second)):
        difference = np.abs(one.astype(int) - other)
        assert outside(difference).max() == 0
        assert difference[HOLE].mean() > 1
    figures = result["samples"][0]
    error = (first[HOLE].astype(float) - truth[HOLE]) / 255
    assert figures["psnr"] == pytest.approx(-10 * np.log10((error**2).mean()), abs=1e-3)
    assert figures["difference_inside"] == pytest.approx(255 * np.abs(error).mean(), rel=1e-4)
    assert figures["difference_outside"] == 0
    change, true_change = (np.abs(np.diff(x[HOLE].astype(float), axis=0)).mean() for x in (first, truth))
    assert figures["flicker"] == pytest.approx(change / true_change, rel=1e-4)
    assert (result["frames"], result["size"], result["seed"]) == (20, [144, 176], 0)
    assert result["hidden_share"] == pytest.approx(3000 / (144 * 176))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "a-2", "a.json"]

    inpaint(film, tmp_path / "again.png", "--mask", "40,30,60,50")
    inpaint(film, tmp_path / "other.png", "--mask", "40,30,60,50", "--seed", 1)
    assert np.array_equal(read(tmp_path / "again"), first)
    other = np.abs(read(tmp_path / "other").astype(int) - first)
    assert outside(other).max() == 0
    assert other[HOLE].mean() > 1


def test_python_has_the_same_in_one_call(tmp_path, inpaint, film, model):
    told = inpaint(film, tmp_path / "a.png", "--mask", "40,30,60,50,0.1,0.5", "--seed", 3, "--dilate", 2)
    result = diffmae_video.inpaint(
        str(film),
        "40,30,60,50,0.1,0.5",
        tmp_path / "b.png",
        checkpoint=model / "diffmae",
        steps=2,
        seed=3,
        dilate=2,
    )
    assert np.array_equal(read(tmp_path / "a"), read(tmp_path / "b"))
    apart = ("output", "files", "seconds", "seconds_per_second")
    assert {k: v for k, v in result.items() if k not in apart} == {
        k: v for k, v in told.items() if k not in apart
    }


def test_the_command_has_the_options_of_the_function():
    usage = diffmae("inpaint", "--help").stdout.split("Fills a hole")[0]
    flags = {name.replace("-", "_") for name in re.findall(r"--([a-z-]+)", usage)}
    arguments = set(inspect.signature(diffmae_video.inpaint).parameters)
    assert flags - {"input"} == arguments - {"film"}


def test_an_mp4_keeps_rate_size_sound_and_visible_pixels(tmp_path, inpaint, frames):
    sounding(tmp_path / "film.mp4", frames=frames, fps=25, seconds=0.8)
    truth = read(tmp_path / "film.mp4")
    inpaint(tmp_path / "film.mp4", tmp_path / "a.mp4", "--mask", "40,30,60,50", "--sampler", "dpm++")
    with open_video(tmp_path / "a.mp4", "pyav") as video:
        assert (video.num_frames, video.fps, video.height, video.width) == (20, 25, 144, 176)
    difference = np.abs(read(tmp_path / "a.mp4").astype(int) - truth)
    assert outside(difference).mean() < 4
    assert difference[HOLE].mean() > 3 * outside(difference).mean()
    assert [b for _, b in packets(tmp_path / "a.mp4")] == [b for _, b in packets(tmp_path / "film.mp4")]


def test_dropped_sound_is_reported(tmp_path, inpaint, frames):
    sounding(tmp_path / "film.mp4", frames=frames[:10], fps=25, seconds=0.4)
    for name in ("a.webm", "a.gif"):
        with pytest.warns(InputWarning, match=rf"the sound \(aac\) is left out: \.{name[2:]} cannot hold it"):
            inpaint(tmp_path / "film.mp4", tmp_path / name, "--mask", "40,30,60,50")
        assert len(read(tmp_path / name)) == 10


def test_outputs_with_the_same_stem_keep_separate_scores(tmp_path, inpaint, film):
    inpaint(film, tmp_path / "a.gif", "--mask", "40,30,60,50")
    first = (tmp_path / "a.json").read_text()
    inpaint(film, tmp_path / "a.png", "--mask", "center")
    assert (tmp_path / "a.json").read_text() == first
    assert json.loads((tmp_path / "a.png.json").read_text())["mask"] == "center"
    inpaint(film, tmp_path / "a.gif", "--mask", "center")  # replaces its own scores
    assert json.loads((tmp_path / "a.json").read_text())["mask"] == "center"
    assert {p.name for p in tmp_path.iterdir()} == {"a", "a.gif", "a.json", "a.png.json"}


def test_only_a_drawn_hole_is_compared_with_the_truth(tmp_path, inpaint, film):
    result = inpaint(film, tmp_path / "a.gif", "--mask", "40,30,60,50")
    assert result["reference"] == "input"
    assert "if you want that removed" in result["note"]
    assert f"note: {result['note']}" in inpaint.printed
    assert result["interpolation_psnr"] == pytest.approx(result["mean_fill_psnr"])  # it is never visible
    drawn = inpaint(film, tmp_path / "b.gif", "--mask", "random", "--mask-ratio", 0.5)
    assert drawn["reference"] == "truth"
    assert "note" not in drawn
    assert len(inpaint.printed) == 1
    assert drawn["interpolation_psnr"] > drawn["mean_fill_psnr"]


def test_folders_of_frames_are_read_and_written(tmp_path, inpaint, frames):
    (tmp_path / "in").mkdir()
    (tmp_path / "masks").mkdir()
    hidden = np.zeros((144, 176), np.uint8)
    hidden[HOLE[1:]] = 255
    for i in range(12):  # 10.png follows 9.png
        Image.fromarray(frames[i]).save(tmp_path / "in" / f"{i}.png")
        Image.fromarray(hidden).save(tmp_path / "masks" / f"{i}.png")
    result = inpaint(
        tmp_path / "in", f"{tmp_path}/v1.2/", "--mask", tmp_path / "masks", "--fps", 12, "--samples", 2
    )
    assert (result["frames"], result["fps"]) == (12, 12)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "masks", "v1.2", "v1.2-2", "v1.2.json"]
    filled = np.stack([np.asarray(Image.open(tmp_path / "v1.2" / f"{i:05d}.png")) for i in range(12)])
    difference = np.abs(filled.astype(int) - frames[:12])
    assert outside(difference).max() == 0
    assert difference[HOLE].mean() > 1
    inpaint(tmp_path / "v1.2", tmp_path / "again", "--mask", "40,30,60,50")  # it reads its own frames
    inpaint(tmp_path / "in", f"{tmp_path}/v1.2/", "--mask", "center")  # in place of what it wrote before
    assert len(list((tmp_path / "v1.2").iterdir())) == 12
    assert "is for a folder of frames" in inpaint(
        tmp_path / "in" / "0.png", tmp_path / "b.png", "--fps", 12, code=2
    )
    assert "would replace one of the inputs" in inpaint(tmp_path / "in", tmp_path / "in", code=2)
    inpaint(tmp_path / "in" / "0.png", f"{tmp_path}/one/", "--mask", "40,30,60,50")
    assert [p.name for p in (tmp_path / "one").iterdir()] == ["00000.png"]


def test_saved_steps_are_x0_predictions_and_the_last_is_the_film(tmp_path, inpaint, film):
    result = inpaint(film, tmp_path / "a.png", "--mask", "center", "--save-steps", "--steps", 3)
    names = [f"t{t:04d}" for t in result["timesteps"]]
    assert names[0] == "t1000"
    assert sorted(p.name for p in (tmp_path / "a-steps").iterdir()) == sorted(names)
    first, *_, last = (read(tmp_path / "a-steps" / name) for name in names)
    film, truth = read(tmp_path / "a"), read(film)
    assert np.abs(last.astype(int) - film).max() <= 1  # of steps 8 bits are kept before they are enlarged
    assert np.abs(first.astype(int) - film)[:, 36:108, 44:132].mean() > 1
    assert np.array_equal(first[:, :36], truth[:, :36])


# a tile of 32 x 32 must see something: the cuboids of a block are larger
@pytest.mark.parametrize(
    ("mask", "tiles"),
    [
        *((mask, ()) for mask in ("random", "tube", "frame", "block", "40,30,60,50,0.2,0.5")),
        *((mask, ("--tiles",)) for mask in ("random", "tube", "frame", "40,30,20,20,0.2,0.5")),
    ],
)
def test_every_mask_works_resized_and_in_tiles(tmp_path, inpaint, film, mask, tiles):
    result = inpaint(film, tmp_path / "a.png", "--mask", mask, "--mask-ratio", 0.6, *tiles)
    difference = np.abs(read(tmp_path / "a").astype(int) - read(film)).max(3)
    share = (difference > 0).mean()
    assert 0.8 * result["hidden_share"] < share <= result["hidden_share"]
    if mask in ("random", "tube", "block"):
        assert result["hidden_share"] == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
def test_short_films_of_odd_sizes_are_filled(tmp_path, inpaint, frames, count):
    write_video(tmp_path / "film.mp4", frames[:count, :51, :67], 10)
    inpaint(tmp_path / "film.mp4", tmp_path / "a.gif", "--mask", "5,6,30,21")
    assert read(tmp_path / "a.gif").shape == (count, 52, 68, 3)  # H.264 has even sides


def test_variable_frame_rates_are_kept(tmp_path, inpaint, frames):
    from diffmae_video.encoding.writers import open_film

    times = np.array([0, 0.1, 0.15, 0.4, 0.45, 0.9])
    with open_film(tmp_path / "film.mp4", 6, times=times) as add:
        for frame in frames[:6]:
            add(frame)
    inpaint(tmp_path / "film.mp4", tmp_path / "a.mp4", "--mask", "40,30,60,50")
    with open_video(tmp_path / "a.mp4", "pyav") as video:
        assert np.abs(video.times - times).max() < 2e-3


@pytest.mark.parametrize("checkpoint", ["diffmae", "image", "mae"])
def test_image_and_video_models_fill_pictures_and_films(tmp_path, inpaint, frames, film, checkpoint):
    Image.fromarray(frames[0]).save(tmp_path / "photo.png")
    result = inpaint(
        tmp_path / "photo.png", tmp_path / "a.png", "--mask", "40,30,60,50", checkpoint=checkpoint
    )
    difference = np.abs(np.asarray(Image.open(tmp_path / "a.png")).astype(int) - frames[0])[None]
    assert outside(difference).max() == 0
    assert difference[HOLE].mean() > 1
    assert result["samples"][0]["flicker"] is None
    inpaint(film, tmp_path / "b.png", "--mask", "random", checkpoint=checkpoint)
    assert len(read(tmp_path / "b")) == 20


def test_mistakes_print_one_line_and_leave_no_file(tmp_path, inpaint, film, frames):
    out = tmp_path / "out"
    out.mkdir()
    write_video(tmp_path / "black.mp4", np.zeros_like(frames), 30)
    (tmp_path / "file").write_text("no folder")
    box = ("--mask", "40,30,60,50")
    for source, target, arguments, message in (
        (film, out / "a.mp4", ("--mask", "170,0,60,50"), "does not fit into the frame of 176 x 144"),
        (film, out / "a.mp4", ("--mask", "0,0,176,144"), "hides the whole frame in all 4 frames"),
        (film, out / "a.mp4", ("--mask", "0,0,90,90", "--tiles"), "or leave out --tiles"),
        (film, out / "a.mp4", ("--mask", tmp_path / "black.mp4"), "hides nothing"),
        (film, out / "a.mp4", ("--mask", "random", "--mask-ratio", "1"), "mask ratio 1.0"),
        (film, out / "a.xyz", box, "the ending must be one of .mp4"),
        (film, tmp_path / "file" / "a.mp4", box, "file"),
        (tmp_path / "nowhere.mp4", out / "a.mp4", box, "no such file"),
        (tmp_path / "file", out / "a.mp4", box, "cannot read"),
        (film, film, box, "would replace one of the inputs"),
        (film, out / "a.mp4", (*box, "--samples", "0"), "--samples must be from 1 to 100"),
        (film, out / "a.mp4", (*box, "--steps", "0"), "steps must be from 1 to T = 1000"),
        (film, out / "a.mp4", (*box, "--sampler", "euler"), "invalid choice: 'euler'"),
    ):
        assert message in inpaint(source, target, *arguments, code=2), arguments
        assert list(out.iterdir()) == []
    for checkpoint, message in (("encoder", "does not inpaint"), ("normalised", "cannot be rendered")):
        assert message in inpaint(film, out / "a.mp4", *box, checkpoint=checkpoint, code=2)
    assert "no config.json" in inpaint(film, out / "a.mp4", *box, checkpoint="none", code=2)


def test_ctrl_c_leaves_no_partial_file(tmp_path, model, real_clips):
    (tmp_path / "a.mp4").write_text("of before")
    command = [sys.executable, str(TOOL), "--checkpoint", model / "diffmae", "--input", real_clips["bikes"]]
    command += ["--output", tmp_path / "a.mp4", "--mask", "40,30,60,50", "--steps", "500", "--save-steps"]
    process = subprocess.Popen(
        list(map(str, command)), env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while len(list(tmp_path.iterdir())) < 2:  # it has begun to write
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    time.sleep(1)
    os.kill(process.pid, signal.SIGINT)
    try:
        _, error = process.communicate(timeout=240)  # 500 encoders are closed
    finally:
        process.kill()
    assert process.returncode == 130, error
    assert error.splitlines()[-1] == "stopped"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [tmp_path / "a.mp4"]
    assert (tmp_path / "a.mp4").read_text() == "of before"


def peak_memory(process):
    """Peak memory of a process in MB; ru_maxrss would include the process that started it, until exec."""
    peak = 0
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        peak = int(found[1]) / 1024 if found else peak  # a process that has ended has none
        time.sleep(0.1)
    return peak


@pytest.mark.slow
def test_memory_does_not_grow_with_the_film(tmp_path, model, real_clips):
    """Half a minute of 640 x 272 takes as much as four seconds, and less than 1.2 GB."""
    peaks = []
    with open_video(real_clips["bikes"], "pyav") as video:
        frames = video.frames(range(0, 250, 2))
    for seconds in (4, 28):
        source = tmp_path / f"{seconds}.mp4"
        write_video(source, (frames[i % 125] for i in range(25 * seconds)), 25, crf=30)
        command = [sys.executable, str(TOOL), "--checkpoint", model / "diffmae", "--input", source]
        command += ["--output", tmp_path / "a.mp4", "--mask", "200,80,200,120", "--steps", "2"]
        process = subprocess.Popen(list(map(str, command)), env=environment(), stdout=subprocess.DEVNULL)
        peaks.append(peak_memory(process))
        assert process.returncode == 0
        assert len(range(25 * seconds)) == json.loads((tmp_path / "a.json").read_text())["frames"]
    # the frames between would be 310 MB, and four times that as floats; 40 to 130 were measured, and no more
    # with three minutes
    assert peaks[1] < peaks[0] + 200
    assert peaks[1] < 1200
