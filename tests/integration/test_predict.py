"""diffmae predict as a user calls it, on videos of which every frame's answer is known."""

import errno
import functools
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video.data import normalise
from diffmae_video.decoding import open_video
from diffmae_video.encoding.clips import write_video
from diffmae_video.evaluation.predict import Predictor
from diffmae_video.evaluation.scorers import load_classifier_scorer, load_neighbour_scorer
from diffmae_video.models import Classifier, Encoder
from tests.calls import diffmae
from tests.encoding.test_writers import packets

FPS, FRAMES, HALF = 10, 60, 30  # of the video: dark up to HALF, and then bright


@torch.no_grad()
def save_classifier(folder, frames=4):
    """Tells dark from bright: its head is set to the difference of their features."""
    patch = (2, 8, 8) if frames > 1 else (1, 8, 8)
    model = Classifier(["dark", "bright"], (16, 16), frames, patch, {"width": 32, "depth": 1, "heads": 2})
    for block in model.encoder.blocks:  # the features are those of the embedding, which is linear
        for part in (block.attn.proj, block.mlp.fc2):
            part.weight.zero_()
    level = torch.tensor([30, 225]).view(2, 1, 1, 1, 1).expand(2, frames, 16, 16, 3).to(torch.uint8)
    dark, bright = model.features(normalise(level, model.mean, model.std))
    way = (bright - dark) / (bright - dark).square().sum()
    model.head.weight.copy_(10 * torch.stack([-way, way]))
    model.head.bias.copy_(-model.head.weight @ (dark + bright) / 2)
    model.save_pretrained(folder)
    (folder / "config.yaml").write_text("DATA:\n  STRIDE: 2\n")
    return model.eval()


def tiny_predictor(folder):
    return Predictor(load_classifier_scorer(folder, []), views=5)


def film(path, size=(48, 64), dark=HALF):
    frames = np.full((FRAMES, *size, 3), 30, np.uint8)
    frames[dark:] = 225
    write_video(path, frames, FPS)
    return path


@pytest.fixture
def predict():
    return functools.partial(diffmae, "predict")


@torch.no_grad()
def test_probabilities_are_those_of_the_mean_of_five_clips_logits(tmp_path, predict):
    model = save_classifier(tmp_path / "run")
    path = film(tmp_path / "film.mp4", dark=22)
    code, out, err = predict("--checkpoint", tmp_path / "run", "--input", path)
    assert (code, err) == (0, "")
    answer = json.loads(out.splitlines()[-1])[str(path)]
    # By hand: the 54 starts of 4 frames 2 apart, five of them even, each the middle square of 16 x 16.
    logits = []
    with open_video(path, "pyav") as video:
        for start in (0, 13, 26, 40, 53):
            clip = torch.from_numpy(video.frames(range(start, start + 8, 2)))[:, :, 8:56]
            clip = torch.nn.functional.interpolate(
                clip.permute(0, 3, 1, 2).float(), size=(16, 16), mode="area"
            )
            clip = (clip / 255 - torch.tensor(model.mean).view(3, 1, 1)) / torch.tensor(model.std).view(
                3, 1, 1
            )
            logits.append(model(clip.movedim(0, 1)[None])[0])
    expected = torch.softmax(torch.stack(logits).mean(0), 0).tolist()
    assert 0.05 < expected[0] < 0.25  # two of five are dark: the mean of their probabilities would be 0.4
    assert [label for label, _ in answer] == ["bright", "dark"]
    assert [p for _, p in answer] == pytest.approx(expected[::-1], abs=1e-3)
    assert f"{expected[0]:6.1%}  dark" in out


def test_labels_change_when_the_video_does(tmp_path, predict):
    save_classifier(tmp_path / "run")
    path, target = film(tmp_path / "film.mp4", (120, 160)), tmp_path / "out/labelled.mp4"
    code, _, err = predict("--checkpoint", tmp_path / "run", "--input", path, "--output", target)
    assert (code, err) == (0, "")
    with open_video(target, "pyav") as video:
        assert (video.num_frames, video.fps, video.height, video.width) == (FRAMES, FPS, 120, 160)
        drawn = video.frames(range(FRAMES)).astype(int)
    level = np.where(np.arange(FRAMES) < HALF, 30, 225)
    assert np.abs(drawn[:, :60] - level[:, None, None, None]).max() < 8  # no panel above
    rows = drawn[:, 86:112, 5:155]  # two rows, the first one's bar all blue when the model is sure
    blue = ((rows[..., 2] - rows[..., 0]) > 80).mean(axis=(1, 2))
    assert blue[[5, -6]] == pytest.approx(blue[5], rel=0.1)
    assert [p.name for p in tmp_path.joinpath("out").iterdir()] == ["labelled.mp4"]
    with tiny_predictor(tmp_path / "run") as predictor:
        bright = np.array([predictor.over_time(path).at(i / FPS)[1] for i in range(FRAMES)])
    assert bright[:24].max() < 0.01
    assert bright[36:].min() > 0.99
    assert (np.diff(bright) > -1e-6).all()
    assert np.diff(bright).max() < 0.5  # a ramp over half a window, and no jump


def test_the_copy_keeps_sound_pixel_aspect_and_frame_times(tmp_path, predict):
    save_classifier(tmp_path / "run")
    path, target = tmp_path / "film.mkv", tmp_path / "out.mp4"
    ticks = [0, 1, 2, 5, 6, 7, 9, 12]  # of a tenth of a second
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        pictures.codec_context.sample_aspect_ratio = Fraction(4, 3)
        sound = container.add_stream("aac", rate=48000)
        sound.layout = "mono"
        for tick in ticks:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 30, np.uint8))
            frame.pts, frame.time_base = tick, Fraction(1, 10)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        samples = av.AudioFrame.from_ndarray(
            np.sin(np.arange(48000, dtype=np.float32) / 9)[None], "fltp", "mono"
        )
        samples.rate = 48000
        container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
    code, _, err = predict("--checkpoint", tmp_path / "run", "--input", path, "--output", target)
    assert (code, err) == (0, "")
    with open_video(target, "pyav") as video:
        assert video.times == pytest.approx(np.array(ticks) / 10, abs=1e-3)
        assert video.aspect == Fraction(4, 3)
    assert [data for _, data in packets(target)] == [data for _, data in packets(path)]
    assert packets(path)


def test_neighbours_label_videos_without_training(tmp_path, predict, monkeypatch):
    """The encoder has random weights and no config.yaml; the list has three dark and two bright films."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    Encoder((16, 16), 4, (2, 8, 8), 32, 1, 2).save_pretrained("encoder")
    rows = []
    for i, dark in enumerate((FRAMES, FRAMES, FRAMES, 0, 0)):
        film(tmp_path / f"known/{i}.mp4", (40 + 8 * i, 64), dark)
        rows.append(f"known/{i}.mp4,{'night' if dark else 'day'}")
    Path("known.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    film(tmp_path / "films/night.mp4", dark=FRAMES)
    film(tmp_path / "films/day.mp4", dark=0)
    film(tmp_path / "films/both.mp4")
    flags = ("--checkpoint", "encoder", "--knn", "known.csv", "DATA.STRIDE", "2")
    code, out, err = predict(*flags, "--input", "films", "--output", "out")
    assert (code, err) == (0, "")
    answers = json.loads(out.splitlines()[-1])
    assert answers["films/night.mp4"][0][0] == "night"
    assert answers["films/day.mp4"][0][0] == "day"
    for labels in answers.values():
        assert sum(probability for _, probability in labels) == pytest.approx(1, abs=1e-3)  # 4 digits of each
    with Predictor(load_neighbour_scorer("encoder", "known.csv", ["DATA.STRIDE", "2"], 2), 2) as predictor:
        timeline = predictor.over_time("films/both.mp4")
    day = timeline.probabilities[:, predictor.classes.index("day")]
    assert day[:3].max() < 0.5 < day[-3:].min()
    Path("unlabelled.csv").write_text("known/0.mp4\n")
    code, out, err = predict("--checkpoint", "encoder", "--knn", "unlabelled.csv", "--input", "films")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "label" in err


def test_a_folder_goes_on_past_a_broken_video(tmp_path, predict):
    save_classifier(tmp_path / "run")
    folder = tmp_path / "films"
    film(folder / "a.mp4")
    (folder / "a.avi").write_bytes((folder / "a.mp4").read_bytes())
    (folder / "broken.mp4").write_bytes((folder / "a.mp4").read_bytes()[:900])
    arguments = ("--checkpoint", tmp_path / "run", "--input", folder, "--topk", "1")
    code, out, err = predict(*arguments, "--output", tmp_path / "out")
    assert code == 1
    assert list(json.loads(out.splitlines()[-1])) == [str(folder / name) for name in ("a.avi", "a.mp4")]
    assert "broken.mp4" in err
    assert len(err.splitlines()) == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.avi.mp4", "a.mp4"]
    code, out, err = predict("--checkpoint", tmp_path / "run", "--input", folder / "broken.mp4")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert str(folder / "broken.mp4") in err


def test_a_folder_of_frames_is_a_video(tmp_path, predict):
    save_classifier(tmp_path / "run")
    frames = tmp_path / "frames"
    frames.mkdir()
    for i in range(12):
        Image.new("RGB", (64, 48), (30,) * 3).save(frames / f"{i:05d}.png")
    target = tmp_path / "out.mp4"
    code, out, err = predict("--checkpoint", tmp_path / "run", "--input", frames, "--output", target)
    assert code == 0, err
    answers = json.loads(out.splitlines()[-1])
    assert list(answers) == [str(frames)]
    assert answers[str(frames)][0][0] == "dark"
    with open_video(target, "pyav") as video:
        assert video.num_frames == 12


def test_pictures_for_a_model_of_one_frame(tmp_path, predict):
    save_classifier(tmp_path / "run", frames=1)
    for name, level in (("a.png", 20), ("b.jpg", 240)):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.new("RGB", (90, 60), (level,) * 3).save(tmp_path / "pictures" / name)
    arguments = ("--checkpoint", tmp_path / "run", "--input", tmp_path / "pictures")
    code, out, _ = predict(*arguments, "--output", tmp_path / "out")
    assert code == 0
    assert [labels[0][0] for labels in json.loads(out.splitlines()[-1]).values()] == ["dark", "bright"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "b.jpg.png"]
    assert Image.open(tmp_path / "out/b.jpg.png").size == (90, 60)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_what_ends_in_between_leaves_nothing(tmp_path, predict, monkeypatch, error):
    save_classifier(tmp_path / "run")
    path, target = film(tmp_path / "film.mp4"), tmp_path / "out.mp4"
    target.write_bytes(b"what was there")
    before = sorted(p.name for p in tmp_path.iterdir())

    def end(*_):
        raise error

    monkeypatch.setattr("diffmae_video.evaluation.label_overlay.draw_labels", end)
    code, _, err = predict("--checkpoint", tmp_path / "run", "--input", path, "--output", target)
    assert code == (2 if isinstance(error, OSError) else 130)
    assert "disk is full" in err or err == "stopped\n"
    assert target.read_bytes() == b"what was there"
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--input", "none.mp4"], "none.mp4: no such file"),
        (["--checkpoint", "encoder"], "holds a pre-trained Encoder, not a classifier"),
        (["--checkpoint", "none"], "no config.json here"),
        (["--checkpoint", "bare"], "config.yaml: no such file"),
        (["--output", "film.mp4"], "lies inside the input"),
        (["--output", "out"], "must end in .mp4"),
        (["--input", ".", "--output", "out"], "lies inside the input"),
        (["--topk", "0"], "--topk must be 1 or more"),
        (["--views", "0"], "--views must be 1 or more"),
    ],
)
def test_mistakes_are_one_line(tmp_path, predict, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    save_classifier(tmp_path / "run")
    save_classifier(tmp_path / "bare")
    (tmp_path / "bare/config.yaml").unlink()
    Encoder((16, 16), 4, (2, 8, 8), 32, 1, 2).save_pretrained("encoder")
    film(tmp_path / "film.mp4")
    code, out, err = predict("--checkpoint", "run", "--input", "film.mp4", *change)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
