"""The page is built for every kind of model."""

import pytest

from diffmae_video.pages.app_layout import build_page
from diffmae_video.pages.live_inpainting import LiveInpainting
from tests.pages.uploads import save
from tests.tiny_models import tiny_diffmae


@pytest.mark.parametrize("frames", [1, 4])
def test_the_page_is_built_for_pictures_and_clips(tmp_path, frames):
    gradio = pytest.importorskip("gradio")
    model = tiny_diffmae(frames=frames, patch=(min(2, frames), 8, 8))
    page = build_page(gradio, LiveInpainting(save(tmp_path / "run", model), "fp32"))
    text = str(page.get_config_file())
    assert ("one picture of 32 × 32" if frames == 1 else "4 frames of 32 × 32 pixels, 2 apart") in text
