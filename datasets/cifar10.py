"""Writes the pictures of CIFAR-10 into one folder for each class.

    python datasets/cifar10.py --archive cifar-10-binary.tar.gz --output cifar10/

Get the archive, "CIFAR-10 binary version", from https://www.cs.toronto.edu/~kriz/cifar.html (Krizhevsky
2009). The script writes OUTPUT/train/<class>/*.png and OUTPUT/test/<class>/*.png of 32 x 32 pixels.
"""

from __future__ import annotations

import tarfile
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from diffmae_video.cli import run_tool, tool_parser
from diffmae_video.errors import InputError
from diffmae_video.files import atomic_path

SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE  # a byte for the class, then the three planes
CLASSES = "batches.meta.txt"


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--archive", metavar="FILE", type=Path, required=True, help="cifar-10-binary.tar.gz")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="a new or empty folder")
    args = parser.parse_args()
    if args.output.exists() and (not args.output.is_dir() or any(args.output.iterdir())):
        raise InputError(f"{args.output}: is not an empty folder; delete it or choose another --output")
    files = read_archive(args.archive)
    names = files.pop(CLASSES).decode().split()
    count = 0
    for name, data in sorted(files.items()):
        split = "test" if name.startswith("test") else "train"
        for record in np.frombuffer(data, np.uint8).reshape(-1, RECORD):
            picture = record[1:].reshape(3, SIDE, SIDE).transpose(1, 2, 0)
            path = args.output / split / names[record[0]] / f"{count:05d}.png"
            with atomic_path(path) as aside:
                Image.fromarray(picture).save(aside, "PNG")
            count += 1
    print(f"{count} pictures in {args.output}")


def read_archive(path: Path) -> dict[str, bytes]:
    """The archive's files of pictures and of class names, by name.

    Raises:
        InputError: the file cannot be read, or is another archive.
    """
    try:
        with tarfile.open(path) as archive:
            members = {PurePosixPath(member.name).name: member for member in archive if member.isfile()}
            wanted = [name for name in members if name.endswith(".bin") or name == CLASSES]
            files = {name: archive.extractfile(members[name]).read() for name in wanted}  # type: ignore[union-attr]
    except (OSError, EOFError, tarfile.TarError) as error:
        raise InputError(f"{path}: cannot be read as an archive ({error})") from error
    pictures = {name: data for name, data in files.items() if name != CLASSES}
    if CLASSES not in files or not pictures or any(len(data) % RECORD for data in pictures.values()):
        raise InputError(f"{path}: is not the binary version of CIFAR-10, cifar-10-binary.tar.gz")
    return files


if __name__ == "__main__":
    run_tool(main)
