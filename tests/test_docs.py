"""What the guides state about recipes and files is what the code does."""

import re

import pytest

from diffmae_video import InputError, load_config
from diffmae_video.build import build_model
from diffmae_video.models import Classifier
from diffmae_video.models.weights.convert import FORMATS, formats_for
from tests.repository import ROOT

CONFIGS = ROOT / "configs"
TABLE = re.findall(r"^\| (`\S+\.yaml`.*?) \| (.*) \|$", (ROOT / "docs/weights.md").read_text(), re.M)
ROWS = [
    (recipe, cells.split(" | "))
    for recipes, cells in TABLE
    for pattern in re.findall(r"`(\S+)`", recipes)
    for recipe in sorted(CONFIGS.glob(pattern))
    if not recipe.name.startswith("finetune")
]


def test_the_table_of_formats_names_each_recipe_once():
    recipes = [recipe for recipe, _ in ROWS]
    assert len(set(recipes)) == len(recipes)
    wanted = {
        recipe
        for folder in ("k400", "imagenet", "ablation", "demo")
        for recipe in (CONFIGS / folder).glob("*.yaml")
        if not recipe.name.startswith("finetune")
    }
    assert wanted <= set(recipes)


def formats_of(model):
    """The formats that hold a model, as the table says it."""
    try:
        return ["yes" if name in formats_for(model) else "no" for name in FORMATS]
    except InputError:
        return ["no"] * len(FORMATS)


@pytest.mark.parametrize(
    ("recipe", "cells"), ROWS, ids=[recipe.relative_to(CONFIGS).as_posix() for recipe, _ in ROWS]
)
def test_the_table_of_formats_is_right(recipe, cells):
    cfg = load_config(recipe)
    cfg.defrost()
    cfg.MODEL.ENCODER.DEPTH = cfg.MODEL.DECODER.DEPTH = 2  # what fits does not depend on it
    encoder = build_model(cfg).backbone()
    classifier = Classifier.on(encoder, ["a", "b"])
    stated = ["no" if cell == "images" else cell for cell in cells]
    assert formats_of(classifier) == stated
    if "images" in cells:
        assert encoder.grid[0] > 1 or encoder.patch[0] > 1
        assert formats_of(encoder) == stated


def test_links_between_the_guides_lead_somewhere():
    broken = [
        f"{guide.relative_to(ROOT)}: {link}"
        for guide in (*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md")), *ROOT.glob("datasets/*.md"))
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", guide.read_text())
        if not re.match(r"[a-z]+:", link) and not (guide.parent / link).exists()
    ]
    assert not broken


def test_the_layout_in_contributing_is_that_of_the_package():
    layout = (ROOT / "CONTRIBUTING.md").read_text().split("## Layout")[1].split("## Reporting")[0]
    named = set(re.findall(r"^ +(\w+)/ ", layout, re.M))
    package = ROOT / "diffmae_video"
    rooms = {folder.parent.name for folder in package.glob("*/**/__init__.py")}
    top = {folder.name for folder in ROOT.iterdir() if folder.is_dir() and (folder.name in named)}
    assert named == rooms | top
    assert {"configs", "datasets", "docs", "tools", "tests", package.name} <= top
