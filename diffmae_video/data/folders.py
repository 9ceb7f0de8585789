"""Finds the videos and pictures in a folder."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from diffmae_video.decoding.file_types import IMAGE_ENDINGS, VIDEO_ENDINGS, is_image_name, is_video_name
from diffmae_video.errors import InputError, InputWarning

NAMED_ENDINGS = 5  # in a message, the most frequent ones


def find_videos(folder: str | Path, images: bool = False) -> list[Path]:
    """All videos below a folder, by their endings, sorted. Symbolic links are followed.

    A folder of consecutively numbered pictures counts as a video of these frames, unless pictures are looked
    for. Hidden files are ignored. Warnings count the other files that are skipped, and the folders of frames.

    Args:
        images: find pictures as well.

    Raises:
        InputError: there is no such folder, or no video (or picture) in it.
    """
    found, skipped = scan_folder(Path(folder), images)
    if not found:
        raise InputError(_nothing_found(folder, images, skipped))
    notes = [_count(skipped)] if skipped else []
    frame_folders = sum(path.is_dir() for path in found)
    if frame_folders:
        notes.append(
            f"{_plural(frame_folders, 'folder')} of numbered pictures read as videos of these frames"
        )
    for note in notes:
        warnings.warn(f"{folder}: {note}", InputWarning, stacklevel=2)
    return found


def scan_folder(folder: Path, images: bool = False) -> tuple[list[Path], list[Path]]:
    """The sorted videos (and pictures) below a folder, and the other files that are not hidden.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found: list[Path] = []
    skipped: list[Path] = []
    for directory, files in _walk(folder):
        videos = [path for path in files if _is_found(path, is_video_name)]
        pictures = [path for path in files if _is_found(path, is_image_name)]
        taken = videos + pictures if images else videos
        if not images and not videos and _are_frames(pictures):
            found.append(directory)
            taken = pictures
        else:
            found += taken
        is_taken = set(taken)
        skipped += [path for path in files if path not in is_taken]
    return sorted(found), skipped


def _is_found(path: Path, has_ending: Callable[[Path], bool]) -> bool:
    return has_ending(path) and path.exists()  # a broken link does not exist


def _are_frames(pictures: list[Path]) -> bool:
    """Whether these are two or more pictures whose names differ only in consecutive numbers."""
    matches = [re.fullmatch(r"(.*?)(\d+)(\D*)", path.stem) for path in pictures]
    names = {
        (match[1], match[3], path.suffix) for match, path in zip(matches, pictures, strict=True) if match
    }
    numbers = sorted(int(match[2]) for match in matches if match)
    is_consecutive = bool(numbers) and numbers == list(range(numbers[0], numbers[0] + len(pictures)))
    return len(pictures) > 1 and len(names) == 1 and is_consecutive


def _walk(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """The folder itself and every folder below it, each with its files. Hidden ones are left out.

    A link to a folder that contains the link is not followed.
    """
    pending = [(folder, frozenset[str]())]
    while pending:
        here, ancestors = pending.pop()
        real = os.path.realpath(here)
        if real in ancestors:
            continue
        files = []
        with os.scandir(here) as entries:
            for entry in entries:
                # Files that are being written (files.py) and macOS's companions "._name" are hidden.
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    pending.append((here / entry.name, ancestors | {real}))
                else:
                    files.append(here / entry.name)
        yield here, files


def _nothing_found(folder: str | Path, images: bool, skipped: list[Path]) -> str:
    pictures = sum(map(is_image_name, skipped))
    if pictures and not images:
        return (
            f"{folder}: no video in it, but {_plural(pictures, 'picture')}; pictures are read for clips of "
            "one frame (DATA.NUM_FRAMES 1)"
        )
    kind = "video or picture" if images else "video"
    endings = (*VIDEO_ENDINGS, *IMAGE_ENDINGS) if images else VIDEO_ENDINGS
    others = f" ({_count(skipped)})" if skipped else ""
    return f"{folder}: no {kind} in it{others}; looked for {', '.join(endings)}"


def _count(skipped: list[Path]) -> str:
    """Counts skipped files by their endings, in one line."""
    kinds: Counter[str] = Counter()
    for path in skipped:
        is_broken = path.is_symlink() and not path.exists()
        kinds["broken link" if is_broken else path.suffix.lower() or "without an ending"] += 1
    frequent = kinds.most_common(NAMED_ENDINGS)
    names = [f"{count} {kind}" for kind, count in frequent]
    rest = len(skipped) - sum(count for _, count in frequent)
    if rest:
        names.append(f"{rest} with other endings")
    return f"{_plural(len(skipped), 'file')} skipped: {', '.join(names)}"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
