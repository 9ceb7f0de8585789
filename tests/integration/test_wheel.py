"""The wheel, installed into an environment that holds nothing of this repository."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest

from tests.repository import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # setuptools writes build/ and egg-info beside the package
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("diffmae_video", "configs"):
        shutil.copytree(
            ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source]
    subprocess.run(build, check=True, timeout=300)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_recipes_and_commands_travel_in_the_wheel(wheel, tmp_path):
    names = set(zipfile.ZipFile(wheel).namelist())
    recipes = {str(path.relative_to(ROOT / "configs")) for path in (ROOT / "configs").rglob("*.yaml")}
    assert {f"diffmae_video/recipes/{name}" for name in recipes} <= names
    assert "diffmae_video/pages/gallery.html" in names
    assert not [name for name in names if name.startswith(("tools/", "tests/"))]

    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin/python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel]
    subprocess.run(install, check=True, timeout=120)
    # The libraries, but not the packages that this environment has in editable mode: their .pth files are
    # read in site-packages only.
    here = sysconfig.get_paths(vars={"base": str(environment), "platbase": str(environment)})["purelib"]
    (environment / here / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")

    def run(*arguments):
        done = subprocess.run(
            [environment / "bin/diffmae", *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "k400/pretrain_vit_b" in run("recipes")
    assert str(environment) in run("recipes", "--show", "demo/modern")
    assert "| pretrain_vit_b | 8 |" in run("scaling", "--gpus", "8")
