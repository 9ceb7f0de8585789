"""The figure of the method, drawn with a tiny model."""

import numpy as np
import pytest
from PIL import Image

from diffmae_video import InputError
from diffmae_video.encoding.clips import write_video
from diffmae_video.studies.method_figure import draw_method
from tests.tiny_models import tiny_classifier, tiny_diffmae


@pytest.fixture
def film(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    write_video(tmp_path / "film.mp4", frames, 8)
    return tmp_path / "film.mp4"


def test_it_shows_the_clip_its_noise_and_its_fill(tmp_path, film):
    tiny_diffmae().save_pretrained(tmp_path / "model")
    (tmp_path / "model/config.yaml").write_text("DATA: {STRIDE: 1, BACKEND: pyav}")
    draw_method(tmp_path / "model", film, tmp_path / "method.png")
    picture = np.asarray(Image.open(tmp_path / "method.png").convert("RGB"))
    assert picture.shape[1] > 2 * picture.shape[0]
    columns = np.array_split(picture, 7, axis=1)
    assert all(column.std() > 20 for column in columns)


def test_a_classifier_has_no_such_figure(tmp_path, film):
    tiny_classifier().save_pretrained(tmp_path / "model")
    with pytest.raises(InputError, match="Classifier"):
        draw_method(tmp_path / "model", film, tmp_path / "method.png")
