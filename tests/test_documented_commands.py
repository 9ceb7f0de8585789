"""Every command line in the documents is understood, and every snippet runs."""

import argparse
import importlib
import re
import shlex
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video import load_config
from diffmae_video.config import OPTIONS
from diffmae_video.encoding.clips import write_video
from tests.documents import DOCUMENTS, PAGES, command_lines, python_snippets
from tests.film.small_films import SMALL_FIT
from tests.repository import ROOT
from tests.tiny_models import tiny_diffmae

LINES = [
    pytest.param(line, id=f"{path.relative_to(ROOT)}: {line[:60]}")
    for path in DOCUMENTS
    for line in dict.fromkeys(command_lines(path))
]


class Parsed(Exception):
    """Ends a command once its arguments are read."""


@pytest.mark.parametrize("line", LINES)
def test_a_documented_command_is_understood(line, monkeypatch):
    name, *arguments = shlex.split(line)
    command = importlib.import_module(f"diffmae_video.commands.{name.replace('-', '_')}")
    seen = []

    def stop(parse):
        def parse_and_stop(self, *args, **kwargs):
            seen.append(parse(self, *args, **kwargs))
            raise Parsed

        return parse_and_stop

    for method in ("parse_args", "parse_intermixed_args"):
        original = getattr(argparse.ArgumentParser, method)
        monkeypatch.setattr(argparse.ArgumentParser, method, stop(original))
    # Weights need not exist, and are not looked for on the hub.
    monkeypatch.setattr("diffmae_video.hub.MODEL_NAME", re.compile(r"(?!)"))
    monkeypatch.setattr(sys, "argv", [f"diffmae {name}", *arguments])
    if "--help" in arguments:
        return
    with pytest.raises(Parsed):
        command.main()
    options = getattr(seen[-1], "options", None) or []
    for key in options[::2]:
        assert key in OPTIONS
    if "mean_colour" in options:  # the objective that docs/extending.md adds
        return
    recipe = getattr(seen[-1], "config", None)
    for path in recipe if isinstance(recipe, list) else [recipe]:
        if path is not None and str(path) not in ("FILE",):
            load_config(path, options)


def test_many_commands_are_found():
    assert len(LINES) > 50


SNIPPETS = [
    pytest.param(code, id=str(path.relative_to(ROOT))) for path in PAGES for code in python_snippets(path)
]


@pytest.mark.parametrize("code", SNIPPETS)
def test_a_snippet_runs(code, tmp_path, monkeypatch):
    """Fits of minutes are made as short as can be."""
    monkeypatch.chdir(tmp_path)
    model = tiny_diffmae()
    model.save_pretrained("runs/vit_b")
    model.encoder.save_pretrained("videomae.pth")
    frames = np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), dtype=np.uint8)
    write_video("film.mp4", frames, 10)
    mask = np.zeros((48, 64), np.uint8)
    mask[10:26, 12:28] = 255
    Image.fromarray(mask).save("mask.png")
    code = re.sub(r'fit="\w+"', 'fit="2steps", recipe="recipe.yaml"', code)
    (tmp_path / "recipe.yaml").write_text(SMALL_FIT)
    names = {"clip": torch.rand(1, 3, 16, 224, 224)}
    exec(compile(code, "snippet", "exec"), names)


def test_the_readme_has_a_snippet():
    assert [param for param in SNIPPETS if param.id == "README.md"]
