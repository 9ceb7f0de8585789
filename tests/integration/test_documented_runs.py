"""What the documents tell users to type is typed, in their order, on small files."""

import shlex
import shutil

import numpy as np
import pytest
from PIL import Image

from diffmae_video.encoding.clips import write_video
from tests.calls import diffmae
from tests.documents import command_lines
from tests.film.small_films import SMALL_FIT, panning
from tests.repository import ROOT
from tests.tiny_models import tiny_diffmae

# What makes each command small. Of arguments and options given twice, the last one counts.
TRAINED = [
    *("TRAIN.MAX_STEPS", "1", "TRAIN.BATCH_SIZE", "2", "TRAIN.ACCUMULATION", "1", "TRAIN.WARMUP_STEPS", "0"),
    *("TRAIN.WARMUP_EPOCHS", "0", "TRAIN.PRECISION", "fp32", "DATA.WORKERS", "0", "DATA.STRIDE", "1"),
    *("VALIDATION.CLIPS", "2", "VALIDATION.EVERY_STEPS", "1"),
]
PRETRAINED = [
    *("DATA.SIZE", "32", "MODEL.ENCODER.WIDTH", "32", "MODEL.ENCODER.DEPTH", "1", "MODEL.ENCODER.HEADS", "2"),
    *("MODEL.DECODER.WIDTH", "32", "MODEL.DECODER.DEPTH", "1", "MODEL.DECODER.HEADS", "2"),
]
VIDEO = ["DATA.NUM_FRAMES", "4", "MODEL.PATCH", "2,8,8"]
SMALL = {
    "pretrain": [*TRAINED, *PRETRAINED],
    "finetune": TRAINED,
    "evaluate": ["EVALUATION.VIEWS", "1,1", "DATA.WORKERS", "0"],
    "evaluate-inpainting": ["--steps", "1", "--clips", "2", "--tasks", "center"],
    "inpaint": ["--steps", "2"],
    "predict": ["--views", "1"],
    "convert-weights": [],
    "recipes": [],
}
DOCUMENTS = ["README.md", "docs/guides/inpaint.md", "docs/guides/finetune.md", "docs/guides/images.md"]
OTHER_FILES = ("--protocol",)  # needs films that other methods filled


def small(line):
    """The command and arguments of a line, made small; none if it is not run here."""
    name, *arguments = shlex.split(line)
    if name not in SMALL or set(arguments) & set(OTHER_FILES):
        return None
    if name == "inpaint" and "--checkpoint" not in arguments:
        arguments += ["--fit", "2steps", "--recipe", "small_fit.yaml"]
    recipe = arguments[arguments.index("--config") + 1] if "--config" in arguments else ""
    if name == "pretrain" and not recipe.startswith("imagenet"):
        arguments += VIDEO
    longer = ["TRAIN.MAX_STEPS", "2"] if "--resume" in arguments else []
    return [name, *arguments, *SMALL[name], *longer]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files that documents name: a film and a picture with masks, labelled clips, lists, and weights."""
    monkeypatch.chdir(tmp_path)
    film = panning(5, 96, 128)
    write_video("film.mp4", film, 2)  # some examples hide something from second 2 on
    Image.fromarray(film[0]).save("photo.jpg")
    mask = np.zeros((96, 128), np.uint8)
    mask[30:78, 40:72] = 255
    Image.fromarray(mask).save("mask.png")
    mask[:, 56:] = 0  # a model of one frame must see something of it
    Image.fromarray(mask).save("hole.png")
    for split in ("clips", "test"):
        for label in ("jump", "run"):
            (tmp_path / split / label).mkdir(parents=True)
            for i in range(2):
                shutil.copy("film.mp4", f"{split}/{label}/{i}.mp4")
    for split in ("pictures", "train", "val"):
        for label in ("cat", "dog"):
            (tmp_path / split / label).mkdir(parents=True)
            for i in range(2):
                Image.fromarray(film[i]).save(f"{split}/{label}/{i}.png")
    for name in ("train.csv", "val.csv"):
        (tmp_path / name).write_text(
            "path\n" + "".join(f"clips/{x}/{i}.mp4\n" for x in ("jump", "run") for i in (0, 1))
        )
    (tmp_path / "small_fit.yaml").write_text(SMALL_FIT)
    tiny_diffmae().save_pretrained("MCG-NJU/videomae-base")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_commands_of_a_document_run_one_after_the_other(folder, document):
    if document == "docs/guides/inpaint.md":  # where its own models come from, the README says
        for line in command_lines(ROOT / "README.md"):
            if "--output runs/" in line:
                assert diffmae(*small(line)).returncode == 0
    done = []
    for line in command_lines(ROOT / document):
        if (arguments := small(line)) is not None:
            result = diffmae(*arguments)
            assert result.returncode == 0, f"{line}: {result.stderr}"
            done.append(line)
    assert len(done) >= 4
