from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffmae_video import InputError, inpaint
from diffmae_video.encoding.clips import write_video
from tests.calls import diffmae_on_a_terminal
from tests.film.small_films import panning


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mp4"
    write_video(path, panning(6, 48, 64, (0, 2)), 10)
    return path


def test_numbers_are_taken_where_text_is(film):
    levels = np.zeros((48, 64), np.uint8)
    levels[10:20, 10:20], levels[30:40, 40:50] = 1, 2
    mask = film.with_name("objects.png")
    Image.fromarray(levels).save(mask)
    result = inpaint(film, mask, film.with_name("out.mp4"), fit=0, instances=2)
    assert result["hidden_share"] == pytest.approx(100 / (48 * 64))


def test_a_length_below_0_is_refused(film):
    with pytest.raises(InputError, match="--fit -1: write a time"):
        inpaint(film, "10,10,8,8", film.with_name("out.mp4"), fit=-1)


def test_without_learning_no_model_is_named(film):
    result = inpaint(film, "10,10,8,8", film.with_name("out.mp4"), fit=0)
    assert result["fill"] == "base"
    assert {result[name] for name in ("model", "fitted", "sampler", "timesteps")} == {None}


@pytest.mark.parametrize(
    ("output", "wrote"),
    [
        ("out.mp4", "out.mp4, {0}/out-2.mp4 and {0}/out.json"),
        ("out", "out/, {0}/out-2/ and {0}/out.json"),
        ("out.png", "out/, {0}/out-2/ and {0}/out.json"),
    ],
)
def test_a_terminal_shows_what_was_written(film, output, wrote):
    folder = film.parent
    files = ("--input", film, "--mask", "10,10,8,8", "--output", folder / output)
    done = diffmae_on_a_terminal("inpaint", *files, "--fit", 0, "--samples", 2)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == f"wrote {folder}/{wrote.format(folder)}"
    paths = lines[-1].removeprefix("wrote ").replace(" and ", ", ").split(", ")
    assert all(Path(path).exists() for path in paths)
    assert not any(line.startswith(("{", "note:")) for line in lines)


def test_a_photo_is_filled_without_a_flow(tmp_path, capsys):
    photo = tmp_path / "photo.png"
    Image.fromarray(panning(1, 48, 64)[0]).save(photo)
    result = inpaint(photo, "10,10,8,8", tmp_path / "out.png", fit=0)
    assert capsys.readouterr().err == "fills 1 frame and measures the fill, without learning\n"
    assert result["files"] == [str(tmp_path / "out.png")]
