"""Every command line and snippet in the documents is one that works."""

import argparse
import ast
import importlib
import re
import shlex
import sys

import numpy as np
import pytest
import torch

from diffmae_video import load_config
from diffmae_video.__main__ import COMMANDS
from diffmae_video.config import OPTIONS
from diffmae_video.encoding.clips import write_video
from tests.repository import ROOT
from tests.tiny_models import tiny_diffmae

NAMES = [name for commands in COMMANDS.values() for name in commands]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "datasets/README.md"]
DOCUMENTS += [path for path in sorted((ROOT / "docs").rglob("*.md")) if "results/" not in str(path)]
DOCUMENTS += sorted((ROOT / "diffmae_video/commands").glob("*.py"))
LAUNCHER = re.compile(r"^\s+(?:WORLD_SIZE=8 )?(?:diffmae|.*-m diffmae_video|.*--module diffmae_video) (\S.*)")


def command_lines(path):
    """The arguments of the diffmae commands in a document; those that are cut short are left out."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    text = re.sub(r"\\+\n\s*", "", text)
    found = [match[1] for line in text.splitlines() if (match := LAUNCHER.match(line.split("#")[0]))]
    found = [re.split(r"\s{3,}|\s\[|\s[|>]\s", line)[0].strip() for line in found if "..." not in line]
    return [line for line in found if line.split()[0] in NAMES]


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


def python_snippets(path):
    """Indented blocks that import from this package."""
    blocks = re.findall(r"(?:^    .*\n|^\n)+", path.read_text(encoding="utf-8"), re.M)
    return [block for block in blocks if "    from diffmae_video import" in block]


SNIPPETS = [
    pytest.param(block, id=str(path.relative_to(ROOT)))
    for path in DOCUMENTS
    if path.suffix == ".md"
    for block in python_snippets(path)
]


@pytest.mark.parametrize("block", SNIPPETS)
def test_a_snippet_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tiny_diffmae()
    model.save_pretrained("runs/vit_b")
    model.encoder.save_pretrained("videomae.pth")
    frames = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), dtype=np.uint8)
    write_video("film.mp4", frames, 10)
    code = "\n".join(line[4:] for line in block.splitlines())
    names = {"clip": torch.rand(1, 3, 16, 224, 224)}
    exec(compile(code, "snippet", "exec"), names)


def test_the_readme_has_a_snippet():
    assert [param for param in SNIPPETS if param.id == "README.md"]
