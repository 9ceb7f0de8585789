"""The page of a comparison: its pictures, and which of them stand where."""

import re

import numpy as np
from PIL import Image

from diffmae_video.inpainting.side_by_side import SideBySide
from diffmae_video.pages.comparison import tile, write_comparison, write_picture

RESULT = {
    "study": "tiny",
    "budget": "FLOPs",
    "val": 1000,
    "classes": 4,
    "costs": {
        "mae": {"parameters": 1.5e6, "macs": 2e6, "steps": 8, "pictures": 64, "flops": 1e9},
        "own": {"parameters": 2e6, "macs": 2e6, "steps": 8, "pictures": 64, "flops": 1e9},
    },
}


def grey(level, frames=1):
    return np.full((frames, 4, 4, 3), level, np.uint8)


def test_the_page_shows_every_system_in_the_order_of_the_titles(tmp_path):
    clip = SideBySide(grey(10), grey(20), {"own": grey(30), "mae": grey(40)}, {"own": 9.0, "mae": 12.34})
    page = write_comparison(
        tmp_path,
        RESULT,
        ["fine-tuned"],
        [("from scratch", ["25.0"]), ("MAE", ["50.0"])],
        {"mae": "MAE", "own": "<own>"},
        {"center": [clip]},
        {"own": np.stack([grey(50), grey(60)])},
    )
    text = page.read_text()
    assert page == tmp_path / "index.html"
    assert re.findall(r'<th scope="col">(.*?)</th>', text[text.index('class="fills"') :]) == [
        *("truth", "masked input", "MAE", "&lt;own&gt;")
    ]
    links = re.findall(r'src="(media/center[^"]+)"', text)
    levels = [np.asarray(Image.open(tmp_path / link).convert("RGB")).mean() for link in links]
    assert levels == [10, 20, 40, 30]
    assert "12.3 dB" in text
    assert "held-out samples of 4 classes; chance is" in text
    assert Image.open(tmp_path / "media/samples-own.webp").size == (32, 4)
    assert not (tmp_path / "media/samples-mae.webp").exists()


def test_clips_are_tiled_in_lines_of_eight():
    clips = np.arange(9, dtype=np.uint8)[:, None, None, None, None] * np.ones((9, 2, 3, 5, 3), np.uint8)
    tiled = tile(clips)
    assert tiled.shape == (2, 6, 40, 3)
    assert tiled[0, 0, ::5, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert tiled[1, 3, ::5, 0].tolist() == [8] + [127] * 7


def test_several_frames_loop_without_loss(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    write_picture(tmp_path / "a.webp", frames)
    with Image.open(tmp_path / "a.webp") as film:
        assert film.n_frames == 3
        assert film.info["loop"] == 0
        for i, frame in enumerate(frames):
            film.seek(i)
            assert (np.asarray(film.convert("RGB")) == frame).all()
