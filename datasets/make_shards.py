"""Packs the files of a list into tar shards: few large files, for object stores and network disks.

    python datasets/make_shards.py lists/k400_train.csv --output shards/k400_train
    python datasets/make_shards.py small/train/list.csv --output shards/train --shard-mb 500
    aws s3 cp --recursive shards/k400_train s3://bucket/k400_train       # DATA.TRAIN s3://bucket/k400_train/list.csv

OUTPUT gets shard-000000.tar and so on, in the WebDataset format (a file and a JSON file of its label for
each sample), and list.csv for DATA.TRAIN, which says where each file starts. Files keep the list's order, and
are read in random order. Each shard is written under a temporary name and renamed. Run again after an
interruption, the tool writes the missing ones. Files that do not exist, or are empty, are named and left out.
Exit code 0: all files are packed; 1: some were left out; 2: wrong usage.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from diffmae_video.cli import run_tool, tool_parser
from diffmae_video.errors import InputError
from diffmae_video.files import atomic_path, write_text
from diffmae_video.runtime.progress import ProgressBar

KEPT_LETTERS = 60  # of a file's name; longer names would need another header in a tar file


class Source(NamedTuple):
    """A file to pack, its size in bytes, and its number in the list."""

    path: str
    size: int
    number: int

    @property
    def key(self) -> str:
        """The name of its sample. WebDataset takes what follows a name's first dot for the kind of file."""
        return f"{self.number:08d}-{re.sub(r'[^A-Za-z0-9_-]', '_', Path(self.path).stem)[:KEPT_LETTERS]}"

    @property
    def name(self) -> str:
        """Its name in the shard."""
        return f"{self.key}{Path(self.path).suffix.lower()}"


def main() -> int:
    parser = tool_parser(__doc__)
    parser.add_argument("list", metavar="LIST_OR_FOLDER", help="what DATA.TRAIN takes")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="folder of the shards")
    parser.add_argument("--root", metavar="DIR", default="", help="where relative paths of the list start")
    parser.add_argument("--images", action="store_true", help="pack the pictures in a folder as well")
    parser.add_argument(
        "--shard-mb", type=float, default=1000.0, metavar="MB", help="size of a shard (default: 1000)"
    )
    args = parser.parse_args()
    if args.shard_mb <= 0:
        raise InputError("--shard-mb must be above 0")

    from diffmae_video.data import read_list, write_list
    from diffmae_video.decoding.storage import absolute, is_stored, member_path

    entries = [
        replace(entry, path=absolute(entry.path)) for entry in read_list(args.list, args.root, args.images)
    ]
    paths = list(dict.fromkeys(entry.path for entry in entries))
    stored = next(filter(is_stored, paths), None)
    if stored is not None:
        raise InputError(f"{stored}: lies in a shard or an object store; only local files are packed")
    folder = next((path for path in paths if Path(path).is_dir()), None)
    if folder is not None:
        raise InputError(f"{folder}: is a folder of frames; make a video of it first")
    sizes = {path: Path(path).stat().st_size if Path(path).is_file() else 0 for path in paths}
    sources = [Source(path, sizes[path], number) for number, path in enumerate(paths) if sizes[path]]
    if not sources:
        raise InputError(f"{args.list}: none of its {len(paths)} files exists, such as {paths[0]}")
    shards = plan_shards(sources, args.shard_mb * 1e6)
    samples: dict[str, list[dict]] = {}
    for entry in entries:
        samples.setdefault(entry.path, []).append(
            {"label": entry.label, "start": entry.start, "end": entry.end}
        )
    check_recipe(args.output / "recipe.json", shards, samples)

    members = {}
    with ProgressBar(total=sum(sizes.values()), unit="B", unit_scale=True, desc="packing") as bar:
        for number, shard in enumerate(shards):
            path = args.output / f"shard-{number:06d}.tar"
            if not path.exists():
                write_shard(path, shard, samples)
            for source, offset in zip(shard, offsets_of(path, shard), strict=True):
                members[source.path] = member_path(path.name, offset, source.size, source.name)
            bar.update(sum(source.size for source in shard))
    write_list(
        args.output / "list.csv",
        [replace(entry, path=members[entry.path]) for entry in entries if entry.path in members],
    )
    missing = [path for path in paths if path not in members]
    for path in missing:
        print(f"left out: {path}: does not exist or is empty")
    written = args.output / "list.csv"
    print(f"{len(sources)} of {len(paths)} files are in {len(shards)} shards, listed in {written}")
    return 1 if missing else 0


def plan_shards(sources: Sequence[Source], most: float) -> list[list[Source]]:
    """Cuts sources, in their order, into shards of at most ``most`` bytes, or of one larger file."""
    shards: list[list[Source]] = []
    filled = 0
    for source in sources:
        if not shards or filled + source.size > most:
            shards.append([])
            filled = 0
        shards[-1].append(source)
        filled += source.size
    return shards


def check_recipe(path: Path, shards: Sequence[Sequence[Source]], samples: dict) -> None:
    """Notes what the shards will hold; existing ones must have been planned to hold the same.

    Raises:
        InputError: they hold other files.
    """
    digest = hashlib.sha256(json.dumps([shards, samples], sort_keys=True).encode()).hexdigest()
    recipe = {"files": sum(map(len, shards)), "shards": len(shards), "sha256": digest}
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != recipe:
        raise InputError(
            f"{path}: shards of other files, or of another size, are there; give another --output"
        )
    write_text(path, json.dumps(recipe, indent=2) + "\n")


def write_shard(path: Path, shard: Sequence[Source], samples: dict[str, list[dict]]) -> None:
    """Writes a shard atomically. Its bytes depend only on the files and their labels.

    Raises:
        InputError: a file cannot be read or has changed its size.
    """
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for source in shard:
            try:
                with Path(source.path).open("rb") as file:
                    add(tar, source.name, source.size, file)
            except OSError as error:
                raise InputError(f"{source.path}: cannot be packed ({error})") from error
            about = {"path": source.path, "entries": samples[source.path]}
            content = json.dumps(about, ensure_ascii=True).encode()
            add(tar, f"{source.key}.json", len(content), io.BytesIO(content))


def add(tar: tarfile.TarFile, name: str, size: int, file: io.BufferedIOBase) -> None:
    """Adds a file without times and owners."""
    member = tarfile.TarInfo(name)
    member.size = size
    tar.addfile(member, file)


def offsets_of(path: Path, shard: Sequence[Source]) -> list[int]:
    """Where the files of a shard start.

    Raises:
        InputError: it does not hold these files.
    """
    try:
        with tarfile.open(path) as tar:
            found = {member.name: member for member in tar if not member.name.endswith(".json")}
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{path}: is damaged ({error}); delete it and run this again") from error
    if {source.name: source.size for source in shard} != {name: m.size for name, m in found.items()}:
        raise InputError(f"{path}: does not hold the files that belong there; delete it and run this again")
    return [found[source.name].offset_data for source in shard]


if __name__ == "__main__":
    run_tool(main)
