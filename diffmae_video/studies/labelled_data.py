"""The labelled data of a study: the user's or a drawn set, and its lists with few and with all labels."""

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from diffmae_video.data import Entry, class_indices, class_names, write_list
from diffmae_video.errors import InputError
from diffmae_video.randomness import random_state

SCRIPTS = Path(__file__).resolve().parents[2] / "datasets"
MOTIONS = ("--plain", "--size", "32", "--train", "3300", "--val", "880")
FEW_SHARE = 0.1  # of the labels of each class


def find_split(folder: Path) -> tuple[Path, Path]:
    """The training and the validation set of a folder.

    These are train.csv with test.csv or val.csv, or otherwise train/ with test/ or val/.

    Raises:
        InputError: the folder has neither.
    """
    for ending in (".csv", ""):  # lists first: the folders may hold the files that the lists name
        train = folder / f"train{ending}"
        for name in ("test", "val"):
            if train.exists() and (folder / f"{name}{ending}").exists():
                return train, folder / f"{name}{ending}"
    raise InputError(
        f"{folder}: needs folders train/ and test/ (or val/), or lists train.csv and test.csv (or val.csv)"
    )


def draw_motions(folder: Path) -> tuple[Path, Path]:
    """Draws clips of eleven motions that no single frame reveals, once (datasets/moving_actions.py)."""
    return find_split(_run_script(folder / "motions", "moving_actions.py", *MOTIONS))


def write_digits(folder: Path) -> tuple[Path, Path]:
    """Writes scikit-learn's digits as pictures, once (datasets/digits.py)."""
    return find_split(_run_script(folder / "digits", "digits.py"))


def _run_script(output: Path, script: str, *options: str) -> Path:
    if not output.exists():
        if not (SCRIPTS / script).is_file():
            raise InputError(
                f"datasets/{script}, which makes this study's data, comes with a clone of the project only; "
                "run this from a clone, or compare on data of your own"
            )
        aside = output.with_name(f".{output.name}.tmp-{os.getpid()}")
        try:
            subprocess.run([sys.executable, SCRIPTS / script, "--output", aside, *options], check=True)
        except subprocess.CalledProcessError as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise InputError(f"datasets/{script} failed to write {output}; see its message above") from error
        aside.rename(output)
    return output


def check_labels(train: Sequence[Entry], val: Sequence[Entry]) -> None:
    """Checks labels before hours of pre-training; fine-tuning would only refuse them afterwards.

    Raises:
        InputError: a training entry has no label, or a validation entry has one that training lacks.
    """
    class_indices(val, class_names(train))


def write_label_lists(entries: Sequence[Entry], folder: Path, seed: int) -> None:
    """Writes all.csv with all entries, and few.csv with a tenth of each class, chosen by the seed."""
    by_class: dict[str | None, list[Entry]] = {}
    for entry in entries:
        by_class.setdefault(entry.label, []).append(entry)
    few: list[Entry] = []
    for i, label in enumerate(sorted(by_class, key=str)):
        same_class = by_class[label]
        order = torch.randperm(len(same_class), generator=random_state(seed, i)).tolist()
        few += [same_class[place] for place in order[: max(1, round(FEW_SHARE * len(same_class)))]]
    for name, part in (("few", few), ("all", entries)):
        absolute = [dataclasses.replace(entry, path=str(Path(entry.path).resolve())) for entry in part]
        write_list(folder / f"{name}.csv", absolute)
