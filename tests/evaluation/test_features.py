"""Features against the model asked by hand, from the files that the tool writes."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from diffmae_video import InputError, load_encoder, load_model
from diffmae_video.data import Entry, normalise, uniform_clips
from diffmae_video.evaluation.features import extract_features, write_features
from diffmae_video.frozen_model import load_frozen
from diffmae_video.models import Classifier
from tests.calls import diffmae
from tests.repository import ROOT
from tests.tiny_models import tiny_diffmae

FIXTURES = sorted((ROOT.parent / "shared/fixtures").glob("*.pt"))
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


@pytest.fixture
def checkpoint(tmp_path):
    """A DiffMAE of 4 frames of 32 x 32, with a mean and std of its own and no config.yaml."""
    tiny_diffmae(mean=MEAN, std=STD).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def listed(tmp_path, real_clips):
    """A list of three entries of which the second cannot be read."""
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    lines = [
        *("path,start,end,label", f"{real_clips['bikes']},0,2,ride", "broken.mp4,,,ride"),
        f"{real_clips['bigbuckbunny']},1,,hop",
    ]
    path = tmp_path / "list.csv"
    path.write_text("\n".join(lines))
    return path


def by_hand(model, entry, frames=4, stride=4, size=(32, 32), mean=MEAN, std=STD, count=1):
    clips = uniform_clips(entry, count, frames, stride, size, backend="pyav")
    with torch.no_grad():
        return model.encode(normalise(clips, mean, std))  # [count, N, D]


def read(path):
    """Features, paths and labels of either kind of file."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            assert sorted(file) == ["features", "labels", "paths"]
            return file["features"], file["paths"].tolist(), file["labels"].tolist()
    with safe_open(path, "np") as file:
        about = file.metadata()
        return file.get_tensor("features"), json.loads(about["paths"]), json.loads(about["labels"])


def test_the_tool_writes_the_mean_over_tokens_and_leaves_out_what_it_cannot_read(
    checkpoint, listed, tmp_path, real_clips
):
    output = tmp_path / "out/features.npz"
    flags = ["--checkpoint", checkpoint, "--input", listed, "--output", output, "DATA.STRIDE", "2"]
    done = diffmae("features", *flags)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last == f"{output}: features 2 x 32; 1 of 3 could not be read and are left out"
    assert "left out" in done.stderr
    assert "broken.mp4" in done.stderr
    features, paths, labels = read(output)
    assert features.dtype == np.float32
    assert (paths, labels) == ([str(real_clips["bikes"]), str(real_clips["bigbuckbunny"])], ["ride", "hop"])
    model = load_model(checkpoint)
    entries = [Entry(paths[0], 0, 2), Entry(paths[1], 1)]
    expected = torch.cat([by_hand(model, entry, stride=2).mean(1) for entry in entries])
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert np.abs(features[0] - features[1]).max() > 0.01


@pytest.mark.parametrize("keep_tokens", [False, True])
def test_both_kinds_of_file_hold_the_same_mean_over_views(checkpoint, tmp_path, real_clips, keep_tokens):
    files = [tmp_path / "x.npz", tmp_path / "x.safetensors"]
    clip = real_clips["carphone_pristine"]
    for file, batch in zip(files, (16, 2), strict=True):  # 2: a video's views in several forwards
        options = ["DATA.WORKERS", 0]
        write_features(checkpoint, clip, file, options, (3, 1), batch, keep_tokens)
    (first, *about), (second, *other) = map(read, files)
    assert about == other == [[str(clip)], [""]]
    np.testing.assert_allclose(first, second, atol=1e-6)
    tokens = by_hand(load_model(checkpoint), Entry(str(clip)), count=3).mean(0, keepdim=True)
    np.testing.assert_allclose(first, tokens if keep_tokens else tokens.mean(1), atol=1e-5)


def test_the_runs_recipe_says_how_clips_are_sampled_and_options_come_last(checkpoint, tmp_path, real_clips):
    run, entry = tmp_path / "run", Entry(str(real_clips["bikes"]))
    step = run / "checkpoints/step_00000005"
    run.mkdir()
    checkpoint.rename(run / "whole")
    model = load_model(run / "whole")
    for folder in (run, step):
        model.save_pretrained(folder)
    recipe = "DATA: {SIZE: [32, 32], NUM_FRAMES: 4, STRIDE: 3, MEAN: [0.1, 0.2, 0.3], TRAIN: a, ROOT: /b}"
    (run / "config.yaml").write_text(recipe)
    for path in (run, step, run / "model.safetensors"):
        frozen = load_frozen(path, ["DATA.WORKERS", 0])
        data = frozen.cfg.DATA
        assert (data.STRIDE, data.TRAIN, data.ROOT) == (3, "", "")
        found = extract_features(frozen, [entry], batch=16).pooled
        expected = by_hand(model, entry, stride=3, mean=(0.1, 0.2, 0.3), std=(0.229, 0.224, 0.225)).mean(1)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    data = load_frozen(run, ["DATA.STRIDE", "2", "DATA.SIZE", "64"]).cfg.DATA
    assert (data.STRIDE, list(data.SIZE), list(data.MEAN)) == (2, [64, 64], [0.1, 0.2, 0.3])


def test_pictures_of_a_folder_and_a_video_model_made_one_of_images(checkpoint, tmp_path):
    folder = tmp_path / "pictures"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        noise = np.random.default_rng(len(name) + ord(name[0])).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(noise).save(folder / name / "0.png")
    output = tmp_path / "pictures.npz"
    write_features(checkpoint, folder, output, ["DATA.NUM_FRAMES", "1", "DATA.WORKERS", 0])
    features, paths, labels = read(output)
    assert labels == ["cat", "dog"]
    encoder = load_encoder(checkpoint, num_frames=1)
    for path, feature in zip(paths, features, strict=True):
        pixels = torch.from_numpy(np.array(Image.open(path)))[None]
        with torch.no_grad():
            expected = encoder(normalise(pixels, MEAN, STD)[None]).mean(1)[0]
        np.testing.assert_allclose(feature, expected, atol=1e-5)


def test_of_a_classifier_it_is_what_its_head_sees(tmp_path, real_clips):
    encoder = {"width": 32, "depth": 2, "heads": 2}
    Classifier(["a", "b"], (32, 32), 4, (2, 8, 8), encoder, mean=MEAN, std=STD).save_pretrained(tmp_path)
    model, entry = load_model(tmp_path), Entry(str(real_clips["bikes"]))
    frozen = load_frozen(tmp_path, ["DATA.WORKERS", 0])
    found = extract_features(frozen, [entry], batch=16, keep_tokens=True)
    with torch.no_grad():
        clip = normalise(uniform_clips(entry, 1, 4, 4, (32, 32), backend="pyav"), MEAN, STD)
        torch.testing.assert_close(found.pooled, model.features(clip), atol=1e-5, rtol=0)
        torch.testing.assert_close(found.tokens, model.encode(clip), atol=1e-5, rtol=0)


@pytest.mark.skipif(not FIXTURES, reason="no ../shared/fixtures beside the repository")
@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: file.stem)
def test_weights_of_others(file, real_clips):
    arch = torch.load(file, weights_only=True)["arch"]
    size, frames, heads = arch["img_size"], arch.get("num_frames", 1), arch["num_heads"]
    entry = Entry(str(real_clips["bikes"]))
    frozen = load_frozen(file, ["MODEL.ENCODER.HEADS", heads, "DATA.WORKERS", 0])
    found = extract_features(frozen, [entry], batch=16).pooled
    data = frozen.cfg.DATA
    clip = normalise(uniform_clips(entry, 1, frames, 4, (size, size), "pyav"), data.MEAN, data.STD)
    with torch.no_grad():
        expected = load_encoder(file, size, frames, heads)(clip).mean(1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_what_a_user_gets_wrong_is_told_before_the_work(checkpoint, tmp_path, real_clips):
    clip = real_clips["bikes"]
    with pytest.raises(InputError, match=r"x\.txt: features are written to a file that ends in \.npz or"):
        write_features(checkpoint, clip, tmp_path / "x.txt")
    with pytest.raises(InputError, match="views and batch must be 1 or more, got views 0,1, batch"):
        write_features(checkpoint, clip, tmp_path / "x.npz", views=(0, 1))
    with pytest.raises(OSError, match=r"config\.json"):  # and not that there is no model
        write_features(tmp_path / "none", clip, checkpoint / "config.json/x.npz")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="none of the 1 videos can be read"):
        write_features(checkpoint, tmp_path / "broken.mp4", tmp_path / "x.npz")
    assert not (tmp_path / "x.npz").exists()
    model = load_model(checkpoint)
    model.encoder.norm.weight.data.fill_(torch.nan)
    model.save_pretrained(checkpoint)
    with pytest.raises(InputError, match="the features are not finite"):
        write_features(checkpoint, clip, tmp_path / "x.npz")
