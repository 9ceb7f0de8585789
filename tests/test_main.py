"""``diffmae``: the list of commands, wrong names, and the arguments that launchers add."""

import ast
import re
import subprocess
import sys

import pytest

from diffmae_video import InputError, __main__, __version__
from tests.calls import diffmae, script
from tests.repository import ROOT

PAGES = sorted(path for path in (ROOT / "diffmae_video/commands").glob("*.py") if path.stem != "__init__")
SCRIPT = '''"""The same as ``diffmae {command}``."""

from diffmae_video.cli import run_tool
from diffmae_video.commands.{module} import main

if __name__ == "__main__":
    run_tool(main)
'''


def run(*arguments, cwd=None):
    command = [sys.executable, "-m", "diffmae_video", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)


def test_without_a_command_it_lists_all_of_them(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["diffmae"])
    assert __main__.run_command() == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert {path.stem.replace("_", "-") for path in PAGES} <= listed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_command_says_how_it_is_called(page):
    name = page.stem.replace("_", "-")
    about = ast.get_docstring(ast.parse(page.read_text()))
    assert f"    diffmae {name}" in about
    assert "tools/" not in about


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_help_names_recipes_as_users_do_and_the_hub(page):
    text = " ".join(diffmae(page.stem.replace("_", "-"), "--help").stdout.split())
    assert not re.search(r"--config \S+\.yaml", text)
    if "weights_path" in page.read_text():
        assert "a name on the Hugging Face hub" in text or "its name on the Hugging Face hub" in text


def test_an_unknown_command_names_the_nearest(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["diffmae", "predcit"])
    with pytest.raises(InputError, match="did you mean predict"):
        __main__.run_command()


def test_the_version(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["diffmae", "--version"])
    assert __main__.run_command() == 0
    assert __version__ in capsys.readouterr().out


def test_the_rank_that_a_launcher_passes_first_is_no_command():
    done = run("--local_rank=0", "finetune", "--help")
    assert done.returncode == 0, done.stderr
    assert "usage: diffmae finetune" in done.stdout


def test_a_command_runs_outside_the_repository(tmp_path, monkeypatch):
    done = run("recipes", "k400", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "k400/pretrain_vit_b " in done.stdout
    monkeypatch.chdir(tmp_path)
    done = diffmae("scaling", "--config", "k400/mae_vit_b", "--gpus", "8")
    assert "| mae_vit_b | 8 |" in done.stdout, done.stderr
    done = diffmae("scaling", "--gpus", "none")
    assert done.returncode == 2
    assert done.stderr.endswith("see diffmae scaling --help\n")


def test_the_page_of_commands_is_what_they_print():
    done = script(ROOT / "tools/write_commands.py", "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_script_stands_for_each_command(page):
    script = ROOT / "tools" / page.name
    if script.exists():
        command = page.stem.replace("_", "-")
        assert script.read_text() == SCRIPT.format(command=command, module=page.stem)


def test_each_listed_command_has_its_module():
    names = {name.replace("-", "_") for group in __main__.COMMANDS.values() for name in group}
    assert names == {page.stem for page in PAGES}


def test_recipes_of_a_study_are_one_line_until_they_are_asked_for(tmp_path):
    names = [line.split()[0] for line in run("recipes", cwd=tmp_path).stdout.splitlines()]
    assert {"k400/pretrain_vit_b", "compare/levers", "compare/levers/"} <= set(names)
    assert not any(name.rstrip("/").count("/") > 1 for name in names)
    of_study = run("recipes", "compare/levers/", cwd=tmp_path).stdout.splitlines()
    assert f"{len(of_study)} recipes of one study" in run("recipes", cwd=tmp_path).stdout
