"""The gallery's files: sheets against their frames, weights, names, and what a failure leaves."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from diffmae_video.inpainting.examples import VIDEO_TASKS, Example, Fill
from diffmae_video.inpainting.loss_curve import LossCurve
from diffmae_video.pages.gallery import draw_curve, encode_sheet, sheet_columns, write_gallery

CURVE = LossCurve([1, 250, 500, 750, 1000], [0.05, 0.3, 0.5, 0.6, 0.62], 0.6)


def film(frames=16, side=64, detail=1.0, seed=0):
    """Waves that drift, with finer ones on top: what a picture weighs depends on its detail."""
    chance = np.random.default_rng(seed)
    y, x, t = np.meshgrid(*(np.arange(n) for n in (side, side, frames)), indexing="ij")
    clip = np.zeros((side, side, frames, 3))
    for period in (40, 17, 9, 5, 3):
        angle, phases = chance.uniform(0, 6.3), chance.uniform(0, 6.3, 3)
        wave = 6.3 * (x * np.cos(angle) + y * np.sin(angle) + t) / period
        clip += (1 if period > 10 else detail) * np.sin(wave[..., None] + phases) * period**0.5
    clip = 128 + 90 * clip / np.abs(clip).max()
    return clip.transpose(2, 0, 1, 3).astype(np.uint8)


def example(task="random75", name="film.mp4", frames=16, side=64, steps=10, samples=3, with_mae=True):
    truth = film(frames, side)
    masked = np.zeros(truth.shape[:3], bool)
    masked[:, side // 4 : side // 2] = True
    given = np.where(masked[..., None], np.uint8(128), truth)

    def fill(count, seed):
        made = [film(frames, side, 0.2 + 0.8 * i / count, seed) for i in range(count)]
        clips = np.stack([np.where(masked[..., None], clip, truth) for clip in made])
        return Fill(clips, [10.0 + i for i in range(count)], [0.1 * i for i in range(count)], 0.5)

    timesteps = [1000 - 90 * i for i in range(steps)]
    mae = fill(1, 9) if with_mae else None
    made = [fill(steps, 1 + n) for n in range(samples)]
    linear = 13.5 if frames > 1 else None
    return Example(task, name, truth, given, masked, 12.0, linear, timesteps, made, mae)


def data_of(page):
    found = re.search(r'<script type="application/json" id="examples">(.*?)</script>', page.read_text())
    return json.loads(found.group(1))


def frames_of(sheet, columns, count, size):
    """The frames of a sheet, at a size."""
    picture = Image.open(sheet).convert("RGB")
    lines = -(-count // columns)
    picture = np.asarray(picture.resize((columns * size, lines * size), Image.Resampling.BOX))
    parts = picture.reshape(lines, size, columns, size, 3).swapaxes(1, 2)
    return parts.reshape(-1, size, size, 3)[:count].astype(int)


@pytest.mark.parametrize("frames", [1, 3, 16])
@pytest.mark.parametrize(("quality", "scale", "most"), [(100, 1, 0), (90, 2, 4), (75, 0.5, 30)])
def test_a_sheet_holds_the_frames_in_order(frames, quality, scale, most):
    clip = film(frames, 48)
    sheet = io.BytesIO(encode_sheet(clip, quality, scale))
    assert Image.open(sheet).width == sheet_columns(frames) * 48 * scale
    assert np.abs(frames_of(sheet, sheet_columns(frames), frames, 48) - clip).mean() <= most


def test_every_step_of_every_sample_has_a_sheet_and_its_place_says_which_t(tmp_path):
    one = example(side=32, frames=4)
    page = write_gallery(tmp_path, [one], 1, CURVE)
    (data,) = data_of(page)
    assert data["places"][2] == "t = 820, step 3 of 10"
    sheets = {data["truth"]: one.truth, data["masked"]: one.given, data["mae"]: one.mae.frames[0]}
    for sample, fill in zip(data["samples"], one.samples, strict=True):
        assert sample["captions"][2].startswith("PSNR 12.0 dB: off by 25% · detail 0.20: blurred · ")
        sheets |= dict(zip(sample["sheets"], fill.frames, strict=True))
    assert {f"media/{p.name}" for p in (tmp_path / "media").iterdir()} == set(sheets)
    assert len(sheets) == 33
    for link, frames in sheets.items():  # so few are lossless
        assert np.array_equal(frames_of(tmp_path / link, data["columns"], 4, 32), frames)


def test_fills_without_a_model_stand_beside_each_example(tmp_path):
    page = write_gallery(tmp_path, [example(frames=4, steps=2), example(frames=1, steps=2)], 2, CURVE)
    captions = re.findall(r"mean of the visible pixels: [^<\n]*", page.read_text())
    assert captions[0].strip() == "mean of the visible pixels: 12.0 dB · linear in time: 13.5 dB"
    assert captions[1].strip() == "mean of the visible pixels: 12.0 dB"


def test_names_are_escaped_and_stay_out_of_links(tmp_path):
    evil = '<img src=x onerror="alert(1)">&</script>.mp4'
    page = write_gallery(tmp_path, [example(name=evil, frames=1, steps=2)], 1, CURVE)
    text = page.read_text()
    assert "<img" not in text
    assert text.count("</script>") == 2
    assert "&lt;img src=x onerror=&#34;alert(1)&#34;&gt;&amp;&lt;/script&gt;.mp4" in text
    assert all("img" not in p.name for p in (tmp_path / "media").iterdir())


def test_a_page_loads_nothing_from_elsewhere(tmp_path):
    text = write_gallery(tmp_path, [example(frames=1, steps=2)], 1, CURVE).read_text()
    assert "http" not in text
    assert "//" not in re.sub(r"//  ?[a-z][^\n]*", "", text)  # but comments


@pytest.mark.slow
def test_forty_examples_weigh_less_than_30_mb(tmp_path):
    """Four are written as if they were of forty, which share the weight equally."""
    write_gallery(tmp_path, (example(task) for task in VIDEO_TASKS), 40, CURVE)
    weight = sum(p.stat().st_size for p in (tmp_path / "media").iterdir())
    assert len(list((tmp_path / "media").iterdir())) == 4 * 33
    assert 5e6 < 10 * weight + (tmp_path / "index.html").stat().st_size < 30e6


def test_a_new_gallery_replaces_the_files_of_the_old_one(tmp_path):
    write_gallery(tmp_path, [example(frames=1, steps=2), example("center", frames=1, steps=2)], 2, CURVE)
    (tmp_path / "mine.txt").write_text("kept")
    page = write_gallery(tmp_path, [example(frames=1, steps=2, with_mae=False)], 1, CURVE)
    assert {p.name for p in tmp_path.iterdir()} == {"index.html", "media", "mine.txt"}
    assert {p.name[:3] for p in (tmp_path / "media").iterdir()} == {"00-"}
    assert (tmp_path / "media").stat().st_mode & 0o055 == 0o055
    assert "<b>MAE</b>" not in page.read_text()


def test_a_failure_leaves_the_old_gallery_intact(tmp_path):
    page = write_gallery(tmp_path, [example(frames=1, steps=2)], 1, CURVE)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}

    def broken():
        yield example("center", frames=1, steps=2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_gallery(tmp_path, broken(), 2, CURVE)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p != tmp_path} == {
        p: t for p, t in before.items() if p != tmp_path
    }
    assert page.exists()


def test_the_curve_goes_through_its_points():
    drawn = draw_curve(CURVE)
    points = np.array([[float(v) for v in point.split(",")] for point in drawn["points"].split()])
    # Back from the drawing's units by its own ticks.
    (y0, _), (y1, label) = drawn["y_ticks"][:2]
    losses = (points[:, 1] - y0) / (y1 - y0) * float(label)
    assert losses == pytest.approx(CURVE.losses, abs=0.005)
    assert (drawn["mae"] - y0) / (y1 - y0) * float(label) == pytest.approx(0.6, abs=0.005)
    assert [t for _, t in drawn["x_ticks"]] == [1, 250, 500, 750, 1000]
    assert points[[0, -1], 0].tolist() == [drawn["left"], drawn["right"]]
    assert drawn["text"] == "Loss by timestep: 0.050 at t = 1, 0.620 at t = 1000; MAE's is 0.600."
