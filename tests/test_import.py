"""The package without its extras."""

import subprocess
import sys

EXTRAS = (
    "deepspeed",
    "decord",
    "av",
    "pytorchvideo",
    "diffusers",
    "transformers",
    "matplotlib",
    "jinja2.ext",
)

BLOCKED = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {[e.split(".")[0] for e in EXTRAS if e != "jinja2.ext"]!r}:
            raise ImportError("No module named " + name)
sys.meta_path.insert(0, Block())
"""


def python(code):
    return subprocess.run([sys.executable, "-c", BLOCKED + code], capture_output=True, text=True, timeout=120)


def test_import_needs_no_extra():
    done = python("import diffmae_video; print(diffmae_video.Mask.random(1, (2, 4, 4), .75).visible.shape)")
    assert done.returncode == 0, done.stderr
    assert "[1, 8]" in done.stdout


def test_a_missing_extra_is_one_clear_line(tmp_path):
    video = tmp_path / "a.mp4"
    video.write_text("x")
    done = python(f"from diffmae_video.data import open_video; open_video({str(video)!r}, 'decord')")
    assert "needs decord" in done.stderr
    assert "pip install 'diffmae-video[video]'" in done.stderr
    done = python(
        "import torch; from diffmae_video.diffusion import *;"
        "sample(lambda x, t: x, torch.randn(1, 2), NoiseSchedule(), 'dpm++', 5)"
    )
    assert "pip install 'diffmae-video[samplers]'" in done.stderr
