"""Labelled sets that studies run on: a user's folder, or one that a script of datasets/ draws."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from diffmae_video.errors import InputError

SCRIPTS = Path(__file__).resolve().parents[2] / "datasets"
MOTIONS = ("--plain", "--size", "32", "--train", "3300", "--val", "880")


def labelled_split(folder: Path) -> tuple[Path, Path]:
    """What a folder has to train on and to validate on: lists, or else train/ and test/ or val/.

    Raises:
        InputError: it has not both.
    """
    for ending in (".csv", ""):  # where there are lists, the folders may hold what they name
        train = folder / f"train{ending}"
        for name in ("test", "val"):
            if train.exists() and (folder / f"{name}{ending}").exists():
                return train, folder / f"{name}{ending}"
    raise InputError(
        f"{folder}: has no train/ with a test/ or val/ beside it, nor train.csv with val.csv; give a folder "
        "that has both"
    )


def motions(folder: Path) -> tuple[Path, Path]:
    """Eleven motions that no single frame tells (datasets/moving_actions.py), drawn once."""
    return labelled_split(_drawn(folder / "motions", "moving_actions.py", *MOTIONS))


def digits(folder: Path) -> tuple[Path, Path]:
    """scikit-learn's digits (datasets/digits.py), written once."""
    return labelled_split(_drawn(folder / "digits", "digits.py"))


def _drawn(output: Path, script: str, *options: str) -> Path:
    if not output.exists():
        aside = output.with_name(f".{output.name}.tmp-{os.getpid()}")
        try:
            subprocess.run([sys.executable, SCRIPTS / script, "--output", aside, *options], check=True)
        except subprocess.CalledProcessError as error:  # it has said why
            shutil.rmtree(aside, ignore_errors=True)
            raise InputError(f"datasets/{script} did not write {output}; mend what it says above") from error
        aside.rename(output)
    return output
