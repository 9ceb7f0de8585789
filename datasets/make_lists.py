"""Makes lists that DATA.TRAIN and DATA.VAL take, from the files that a dataset comes with.

    python datasets/make_lists.py kinetics --csv train.csv --videos k400/train --output lists/train.csv
    python datasets/make_lists.py ssv2 --labels labels/train.json --videos ssv2 --output lists/train.csv
    python datasets/make_lists.py ucf101 --split splits/trainlist01.txt --videos UCF-101 --output train.csv
    python datasets/make_lists.py imagenet --images ILSVRC/train --output lists/train.csv
    python datasets/make_lists.py imagenet --images ILSVRC/val --solution solution.csv --output val.csv
    python datasets/make_lists.py own --videos clips/ --val-share 0.2 --output lists/

Files that the dataset names and that are not there are counted, and named in OUTPUT.missing. Nothing is
downloaded: datasets/README.md says where each dataset is had, and how many files it has.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from diffmae_video.cli import run_tool, tool_parser
from diffmae_video.errors import InputError
from diffmae_video.files import write_text
from diffmae_video.runtime.progress import ProgressBar

Found = tuple[list, list[str]]  # entries, and the names of files that are missing


def kinetics(args: argparse.Namespace) -> Found:
    """Kinetics-400, 600 and 700, from their own CSV (label,youtube_id,time_start,time_end,split)."""
    from diffmae_video.data.lists import read_kinetics

    return read_kinetics(args.csv, args.videos)


def ssv2(args: argparse.Namespace) -> Found:
    """Something-Something v2, from train.json or validation.json: videos are ID.webm."""
    try:
        rows = json.loads(args.labels.read_text(encoding="utf-8"))
        named = [(f"{row['id']}.webm", row["template"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{args.labels}: not Something-Something's train.json or validation.json ({error!r})"
        ) from error
    # the class is the template without its brackets, as labels.json has it
    return _there(args.videos, ((name, label.replace("[", "").replace("]", "")) for name, label in named))


def ucf101(args: argparse.Namespace) -> Found:
    """UCF101, from trainlist0N.txt or testlist0N.txt: CLASS/VIDEO.avi [number]."""
    try:
        lines = args.split.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{args.split}: cannot be read ({error})") from error
    names = [line.split()[0] for line in lines if line.strip()]
    return _there(args.videos, ((name, name.split("/")[0]) for name in names))


def imagenet(args: argparse.Namespace) -> Found:
    """ImageNet-1K: a folder for each class, or a flat validation folder with Kaggle's solution."""
    from diffmae_video.data import read_list

    if args.solution is None:
        entries = read_list(args.images, images=True)
        if entries[0].label is None:
            raise InputError(
                f"{args.images}: has no folders of classes; for the flat validation set give --solution"
            )
        return entries, []
    try:
        with args.solution.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        named = [(f"{row['ImageId']}.JPEG", row["PredictionString"].split()[0]) for row in rows]
    except (OSError, KeyError, IndexError, UnicodeDecodeError) as error:
        raise InputError(f"{args.solution}: not Kaggle's LOC_val_solution.csv ({error!r})") from error
    return _there(args.images, named)


def own(args: argparse.Namespace) -> None:
    """Your own folder of classes: OUTPUT/train.csv and OUTPUT/val.csv, split within each class."""
    from diffmae_video.data import read_list

    if not 0 <= args.val_share < 1:
        raise InputError(f"--val-share: from 0 to below 1, got {args.val_share}")
    by_class: dict[str | None, list] = {}
    for entry in read_list(args.videos, images=args.images):
        by_class.setdefault(entry.label, []).append(entry)
    draw, train, val = random.Random(args.seed), [], []
    for label in sorted(by_class, key=str):
        members = by_class[label]
        draw.shuffle(members)
        held = round(args.val_share * len(members))
        val += members[:held]
        train += members[held:]
    for name, part in (("train", train), ("val", val)):
        if part:
            _write(args.output / f"{name}.csv", part, [])
        else:  # one of another split would hold files of this one
            (args.output / f"{name}.csv").unlink(missing_ok=True)


def _there(folder: Path, named: Iterable[tuple[str, str]]) -> Found:
    """Entries of the (file name, label) pairs that are in a folder, and the names of the others."""
    from diffmae_video.data import Entry

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    entries, missing = [], []
    for name, label in ProgressBar(named, desc="listing", unit=" files"):
        if (folder / name).is_file():
            entries.append(Entry(str(folder / name), label=label))
        else:
            missing.append(name)
    if not entries:
        example = f", say {missing[0]}" if missing else ""
        raise InputError(f"{folder}: none of the {len(missing)} files that are named is there{example}")
    return entries, missing


def _write(output: Path, entries: list, missing: list[str]) -> None:
    from diffmae_video.data import write_list

    # absolute, so that the list may be moved
    write_list(output, [replace(entry, path=str(Path(entry.path).absolute())) for entry in entries])
    labels = {entry.label for entry in entries} - {None}
    line = f"{output}: {len(entries)} files, {len(labels)} classes"
    if missing:
        names = output.with_name(f"{output.name}.missing")
        write_text(names, "".join(f"{name}\n" for name in missing))
        line += f"; {len(missing)} are missing, named in {names}"
    print(line)


def main() -> int:
    parser = tool_parser(__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="DATASET")

    def add(make, **flags):  # type: ignore[no-untyped-def]
        sub = kinds.add_parser(make.__name__, help=make.__doc__, description=make.__doc__)
        for name, about in flags.items():
            sub.add_argument(f"--{name}", type=Path, required=name != "solution", help=about)
        sub.add_argument("--output", type=Path, required=True, help="the list; of `own` their folder")
        sub.set_defaults(make=make)
        return sub

    add(kinetics, csv="its CSV", videos="folder of the videos, flat or by class")
    add(ssv2, labels="train.json or validation.json", videos="folder of the .webm files")
    add(ucf101, split="trainlist0N.txt or testlist0N.txt", videos="folder UCF-101")
    add(imagenet, images="folder of train or val", solution="LOC_val_solution.csv, for a flat val folder")
    mine = add(own, videos="folder with a folder for each class")
    mine.add_argument("--images", action="store_true", help="find pictures as well")
    mine.add_argument("--val-share", type=float, default=0.2, help="of each class (default: 0.2)")
    mine.add_argument("--seed", type=int, default=0, help="of the split (default: 0)")
    args = parser.parse_args()
    found = args.make(args)
    if found is not None:
        _write(args.output, *found)
    return 0


if __name__ == "__main__":
    run_tool(main)
