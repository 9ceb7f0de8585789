"""The protocol on small films whose scores are known."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from diffmae_video import InputError
from diffmae_video.inpainting import protocol
from diffmae_video.inpainting.protocol import evaluate_protocol, find_films, groups
from diffmae_video.inpainting.published_metrics import frame_psnr, frame_ssim

pytest.importorskip("cv2")

FRAMES = 5


def write_frames(folder, frames):
    folder.mkdir(parents=True)
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{i:05d}.png")


@pytest.fixture
def folders(tmp_path):
    """A still film with a hole that moves, and one that pans 6 pixels a frame under a fixed hole."""
    coarse = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    scene = np.asarray(Image.fromarray(coarse).resize((128, 88), Image.Resampling.BICUBIC))
    still = np.stack([scene[:72, :80]] * FRAMES)
    pan = np.stack([scene[:72, 6 * i : 6 * i + 80] for i in range(FRAMES)])
    moving, fixed = np.zeros((2, FRAMES, 72, 80), np.uint8)
    for i in range(FRAMES):
        moving[i, 20:40, 10 + 8 * i : 30 + 8 * i] = 255
    fixed[:, 30:50, 30:50] = 255
    for name, truth, mask in (("still", still, moving), ("pan", pan, fixed)):
        write_frames(tmp_path / "films" / name, truth)
        write_frames(tmp_path / "masks" / name, mask)
        flicker = truth.astype(int)
        flicker[1::2] += 30
        write_frames(tmp_path / "flicker" / name, flicker.clip(0, 255).astype(np.uint8))
        write_frames(tmp_path / "perfect" / name, np.where(mask[..., None] > 0, truth, 255 - truth))
    return tmp_path


def evaluate(folders, **change):
    options = {"size": None, "features": None, **change}
    fills = {name: folders / name for name in ("flicker", "perfect")}
    return evaluate_protocol(folders / "films", folders / "masks", fills, folders / "scores", **options)


def test_scores_of_films_groups_and_motions(folders):
    result, text = evaluate(folders)
    rows = {(row["group"], row["fill"]): row for row in result["rows"]}
    about = {film["name"]: film for film in result["films"]}
    diagonal = np.hypot(72, 80)
    assert about["still"]["camera_motion"] == pytest.approx(0, abs=0.05)
    assert about["still"]["object_motion"] == pytest.approx(100 * 8 / diagonal, rel=0.02)
    assert about["pan"]["camera_motion"] == pytest.approx(100 * 6 / diagonal, rel=0.05)
    assert about["pan"]["object_motion"] == pytest.approx(100 * 6 / diagonal, rel=0.05)
    assert about["pan"]["hidden_share"] == pytest.approx(400 / 5760)
    for name in ("still", "pan"):
        psnrs, ssims, in_hole = [], [], []
        for i in range(FRAMES):
            truth, mask, fill = (
                np.asarray(Image.open(folders / f / name / f"{i:05d}.png"))
                for f in ("films", "masks", "flicker")
            )
            shown = np.where(mask[..., None] > 0, fill, truth)
            psnrs.append(frame_psnr(shown, truth))
            ssims.append(frame_ssim(shown, truth))
            in_hole.append(frame_psnr(shown, truth, mask > 0))
        row = rows[f"film: {name}", "flicker"]
        expected = [np.mean(x) for x in (psnrs, ssims, in_hole)]
        assert [row["psnr"], row["ssim"], row["psnr_hole"]] == pytest.approx(expected)
        perfect, truth = rows[f"film: {name}", "perfect"], rows[f"film: {name}", "truth"]
        assert (perfect["psnr"], perfect["ssim"], perfect["psnr_hole"]) == (100, 1, 100)
        assert truth["psnr"] is None
        assert perfect["warping_error"] == truth["warping_error"] < row["warping_error"]
    assert rows["film: still", "truth"]["warping_error"] < 1e-6
    of_films = [rows[f"film: {name}", "flicker"]["psnr"] for name in ("still", "pan")]
    assert rows["all", "flicker"]["psnr"] == pytest.approx(np.mean(of_films))
    assert rows["camera: fast", "flicker"]["psnr"] == of_films[1]
    assert rows["camera: still", "flicker"]["psnr"] == of_films[0]
    assert rows["object: fast", "flicker"]["films"] == 2
    assert json.loads((folders / "scores/protocol.json").read_text()) == result
    assert (folders / "scores/protocol.md").read_text() == text
    assert "| camera: fast (1) | flicker | " in text
    assert "VFID |" not in text
    table = list(csv.DictReader((folders / "scores/protocol.csv").open()))
    assert [row["group"] for row in table] == [row["group"] for row in result["rows"]]


def test_vfid_compares_sets_of_films(folders, monkeypatch):
    class Brightness:
        width = 1

        def __init__(self, *_):
            pass

        def __call__(self, clips):
            return clips.mean((1, 2, 3, 4))[:, None]

    monkeypatch.setattr(protocol, "FeatureModel", Brightness)
    result, text = evaluate(folders, features=folders / "network")
    rows = {row["fill"]: row for row in result["rows"] if row["group"] == "all"}
    assert rows["perfect"]["vfid"] == pytest.approx(0, abs=1e-9)
    assert rows["flicker"]["vfid"] > 1e-6
    assert "| VFID |" in text


def test_everything_is_resized_to_a_size(folders):
    result, _ = evaluate(folders, size=(120, 66))
    assert [film["size"] for film in result["films"]] == [[120, 66]] * 2
    assert result["size"] == [120, 66]


def test_groups_by_speed():
    films = [
        {"name": name, "camera_motion": camera, "object_motion": moved}
        for name, camera, moved in (("a", 0.0, 0.5), ("b", 0.1, 0.99), ("c", 7.0, 1.0))
    ]
    assert groups(films) == {
        "all": ["a", "b", "c"],
        "camera: still": ["a"],
        "camera: slow": ["b"],
        "camera: fast": ["c"],
        "object: slow": ["a", "b"],
        "object: fast": ["c"],
    }


def test_what_does_not_match_is_named(folders):
    with pytest.raises(InputError, match=r"--films .*nowhere: no such folder"):
        find_films(folders / "nowhere", folders / "masks", {})
    (folders / "flicker/pan/00004.png").unlink()
    with pytest.raises(InputError, match=r"pan: has 4 frames and .*pan 5"):
        evaluate(folders)
    (folders / "flicker/pan").rename(folders / "flicker/spin")
    with pytest.raises(InputError, match="--fills flicker: there is nothing named pan"):
        evaluate(folders)
    for path in (folders / "perfect/still").iterdir():
        Image.open(path).resize((40, 40)).save(path)
    (folders / "flicker").rename(folders / "other")
    with pytest.raises(InputError, match=r"still: has 40 x 40 pixels and .*still 80 x 72; give --size WxH"):
        evaluate_protocol(
            folders / "films",
            folders / "masks",
            {"perfect": folders / "perfect"},
            folders / "out",
            None,
            None,
        )
    (folders / "films/pan.mp4").touch()
    with pytest.raises(InputError, match=r"pan and pan\.mp4 have one name"):
        find_films(folders / "films", folders / "masks", {})


def test_vfid_of_one_film_is_refused(folders):
    for part in ("films", "masks", "flicker", "perfect"):
        (folders / part / "pan").rename(folders / part / ".pan")
    with pytest.raises(InputError, match="needs at least 2"):
        evaluate(folders, features=folders / "network")
