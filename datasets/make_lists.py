"""Makes lists for DATA.TRAIN and DATA.VAL from the files that a dataset comes with.

    python datasets/make_lists.py kinetics --csv train.csv --videos k400/train --output lists/train.csv
    python datasets/make_lists.py ssv2 --labels labels/train.json --videos ssv2 --output lists/train.csv
    python datasets/make_lists.py ucf101 --split splits/trainlist01.txt --videos UCF-101 --output train.csv
    python datasets/make_lists.py imagenet --images ILSVRC/train --output lists/train.csv
    python datasets/make_lists.py imagenet --images ILSVRC/val --solution solution.csv --output val.csv
    python datasets/make_lists.py own --videos clips/ --val-share 0.2 --output lists/

Missing files are counted, and named in OUTPUT.missing. Nothing is downloaded: datasets/README.md says where
to get each dataset, and how many files it has.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from diffmae_video.cli import run_tool, tool_parser
from diffmae_video.errors import InputError
from diffmae_video.files import read_text, write_text
from diffmae_video.runtime.progress import ProgressBar

Found = tuple[list, list[str]]  # entries, and the names of missing files


def kinetics(args: argparse.Namespace) -> Found:
    """Kinetics-400, 600 and 700, from their own CSV (label,youtube_id,time_start,time_end,split)."""
    from diffmae_video.data.lists import read_kinetics

    return read_kinetics(args.csv, args.videos)


def ssv2(args: argparse.Namespace) -> Found:
    """Something-Something v2, from train.json or validation.json; its videos are ID.webm."""
    try:
        rows = json.loads(args.labels.read_text(encoding="utf-8"))
        named = [(f"{row['id']}.webm", row["template"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{args.labels}: is not Something-Something's train.json or validation.json ({error!r})"
        ) from error
    # The class is the template without its brackets, as in labels.json.
    return _existing(args.videos, [(name, re.sub(r"[][]", "", template)) for name, template in named])


def ucf101(args: argparse.Namespace) -> Found:
    """UCF101, from trainlist0N.txt or testlist0N.txt: CLASS/VIDEO.avi [number]."""
    names = [line.split()[0] for line in read_text(args.split).splitlines() if line.strip()]
    return _existing(args.videos, [(name, name.split("/")[0]) for name in names])


def imagenet(args: argparse.Namespace) -> Found:
    """ImageNet-1K: one folder per class, or a flat validation folder with Kaggle's solution."""
    from diffmae_video.data import read_list

    if args.solution is None:
        entries = read_list(args.images, images=True)
        if entries[0].label is None:
            raise InputError(
                f"{args.images}: has no class folders; for the flat validation set give --solution"
            )
        return entries, []
    try:
        with args.solution.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        named = [(f"{row['ImageId']}.JPEG", row["PredictionString"].split()[0]) for row in rows]
    except (OSError, KeyError, IndexError, UnicodeDecodeError) as error:
        raise InputError(f"{args.solution}: is not Kaggle's LOC_val_solution.csv ({error!r})") from error
    return _existing(args.images, named)


def own(args: argparse.Namespace) -> None:
    """Your own class folders: OUTPUT/train.csv and OUTPUT/val.csv, split within each class."""
    from diffmae_video.data.folders import scan_folder
    from diffmae_video.data.lists import read_list
    from diffmae_video.decoding.file_types import is_video_name

    if not 0 <= args.val_share < 1:
        raise InputError(f"--val-share: must be 0 or more and below 1, got {args.val_share}")
    # A folder of numbered pictures is a video of frames, unless it is a class folder.
    found = [path.relative_to(args.videos) for path in scan_folder(args.videos)[0]]
    has_videos = any(is_video_name(path) or len(path.parts) > 1 for path in found)
    by_class: dict[str | None, list] = {}
    for entry in read_list(args.videos, images=args.images or not has_videos):
        by_class.setdefault(entry.label, []).append(entry)
    generator, train, val, single = random.Random(args.seed), [], [], []
    for label, members in sorted(by_class.items(), key=lambda item: str(item[0])):
        generator.shuffle(members)
        count = 0
        if args.val_share and len(members) > 1:  # at least one of a class, and never all of it
            count = min(len(members) - 1, max(1, round(args.val_share * len(members))))
        elif args.val_share:
            single.append(str(label) if label is not None else members[0].path)
        val += members[:count]
        train += members[count:]
    _write(args.output / "train.csv", train, [])
    if val:
        _write(args.output / "val.csv", val, [])
    else:  # an older one could name files that are now in train.csv
        (args.output / "val.csv").unlink(missing_ok=True)
        print(f"{args.output / 'val.csv'}: not written, since no file is held out")
    if single:
        print(f"single files cannot be split and are for training: {', '.join(single)}")
    held = len(val) / (len(train) + len(val))
    if abs(held - args.val_share) > 0.05:
        print(f"held out {held:.0%} and not {args.val_share:.0%}: small classes are split one by one")


def _existing(folder: Path, named: Sequence[tuple[str, str]]) -> Found:
    """Entries of those (file name, label) pairs that exist in a folder, and the names of the others."""
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
        example = f", for example {missing[0]}" if missing else ""
        raise InputError(f"{folder}: none of the {len(missing)} listed files exists in it{example}")
    return entries, missing


def _write(output: Path, entries: list, missing: list[str]) -> None:
    from diffmae_video.data.lists import count_files, write_list

    # Absolute paths, so that the list can be moved.
    write_list(output, [replace(entry, path=str(Path(entry.path).absolute())) for entry in entries])
    labels = {entry.label for entry in entries} - {None}
    line = f"{output}: {count_files(entries)}, {len(labels)} class{'' if len(labels) == 1 else 'es'}"
    if missing:
        names = output.with_name(f"{output.name}.missing")
        write_text(names, "".join(f"{name}\n" for name in missing))
        line += f"; {len(missing)} missing, named in {names}"
    print(line)


def main() -> int:
    parser = tool_parser(__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="DATASET")

    def add(make, **flags):  # type: ignore[no-untyped-def]
        sub = kinds.add_parser(make.__name__, help=make.__doc__, description=make.__doc__)
        for name, about in flags.items():
            sub.add_argument(f"--{name}", type=Path, required=name != "solution", help=about)
        sub.add_argument(
            "--output",
            type=Path,
            required=True,
            help="the list to write; for `own`, the folder of both lists",
        )
        sub.set_defaults(make=make)
        return sub

    add(kinetics, csv="Kinetics' own CSV", videos="folder of the videos, flat or by class")
    add(ssv2, labels="train.json or validation.json", videos="folder of the .webm files")
    add(ucf101, split="trainlist0N.txt or testlist0N.txt", videos="folder UCF-101")
    add(imagenet, images="folder of train or val", solution="LOC_val_solution.csv, for a flat val folder")
    mine = add(own, videos="folder with a subfolder for each class")
    mine.add_argument(
        "--images", action="store_true", help="list pictures beside videos; without videos they always are"
    )
    mine.add_argument(
        "--val-share", type=float, default=0.2, help="share of each class to hold out (default: 0.2)"
    )
    mine.add_argument("--seed", type=int, default=0, help="seed of the split (default: 0)")
    args = parser.parse_args()
    found = args.make(args)
    if found is not None:
        _write(args.output, *found)
    return 0


if __name__ == "__main__":
    run_tool(main)
