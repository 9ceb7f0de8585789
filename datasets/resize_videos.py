"""Writes small copies of videos that decode fast: H.264 with a given short side, short GOPs and no sound.

    python datasets/resize_videos.py train.csv --output small/train --short-side 256
    python datasets/resize_videos.py videos/ --output small --short-side 224 --workers 32

Copies lie in the same folders as their sources, and OUTPUT/list.csv lists them with the same labels, starts
and ends. Copies are upright, and keep the aspect of pixels and the colour tags. Run again, the tool makes
the missing ones. A file that cannot be converted, or takes longer than --timeout, is named, left out of the
list, and recorded in OUTPUT/failed.jsonl. A copy runs at its source's mean rate, so that starts and ends
shift a little in videos of a variable rate.
Exit code 0: all files are converted; 1: some failed; 2: wrong usage.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from diffmae_video.cli import run_tool, tool_parser
from diffmae_video.errors import InputError
from diffmae_video.files import write_text
from diffmae_video.runtime.progress import ProgressBar


def main() -> int:
    parser = tool_parser(__doc__)
    parser.add_argument("list", metavar="LIST_OR_FOLDER", help="what DATA.TRAIN takes")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="where the copies go")
    parser.add_argument("--short-side", metavar="PIXELS", type=int, required=True)
    parser.add_argument("--root", metavar="DIR", default="", help="where relative paths of the list start")
    parser.add_argument(
        "--gop", type=int, metavar="N", default=2, help="frames between key frames (default: 2)"
    )
    parser.add_argument("--crf", type=int, metavar="Q", default=23, help="x264's quality (default: 23)")
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        default=os.cpu_count() or 1,
        help="files at once (default: all cores)",
    )
    parser.add_argument(
        "--timeout", type=float, metavar="S", default=600.0, help="seconds for a file (default: 600)"
    )
    args = parser.parse_args()
    if min(args.workers, args.short_side, args.gop) < 1 or args.timeout <= 0 or not 0 <= args.crf <= 51:
        raise InputError("--workers, --short-side, --gop and --timeout must be above 0, --crf from 0 to 51")

    from diffmae_video.data import read_list, write_list
    from diffmae_video.decoding.many_files import for_each_file

    entries = read_list(args.list, args.root)
    sources = list(dict.fromkeys(str(Path(entry.path).absolute()) for entry in entries))
    folder = os.path.commonpath([str(Path(source).parent) for source in sources])
    output = args.output.absolute()
    if output == Path(folder) or (Path(args.list).is_dir() and Path(args.list).absolute() in output.parents):
        raise InputError(f"{args.output}: the copies would mix with their sources; give another --output")
    targets = {s: args.output / f"{Path(s).relative_to(folder)}".removesuffix(".mp4") for s in sources}
    targets = {s: target.with_name(f"{target.name}.mp4") for s, target in targets.items()}
    if len(set(targets.values())) < len(targets):
        raise InputError(f"{args.list}: two of its files would have copies of the same name; rename one")
    # Existing copies count as done, so they must come from the same sources with the same options.
    recipe = {"sources": folder, "short_side": args.short_side, "gop": args.gop, "crf": args.crf}
    noted = args.output / "recipe.json"
    if noted.exists() and json.loads(noted.read_text(encoding="utf-8")) != recipe:
        raise InputError(
            f"{noted}: copies of other sources or with other options are there; give another --output"
        )
    write_text(noted, json.dumps(recipe, indent=2) + "\n")
    for target in targets.values():
        target.parent.mkdir(parents=True, exist_ok=True)
    todo = [source for source in sources if not targets[source].exists()]
    failed = []
    with ProgressBar(
        total=len(sources), initial=len(sources) - len(todo), desc="resizing", unit=" videos"
    ) as bar:

        def resize(decoder, source):  # type: ignore[no-untyped-def]
            decoder.resize(source, targets[source], args.short_side, args.gop, args.crf)

        for verdict in for_each_file(todo, resize, args.workers, args.timeout):
            if not verdict.ok:
                failed.append(verdict)
                tqdm.write(verdict.reason, file=sys.stdout)
            bar.update()
    write_text(args.output / "failed.jsonl", "".join(verdict.line() for verdict in failed))
    bad = {verdict.path for verdict in failed}
    copies = [
        replace(entry, path=str(targets[source].relative_to(args.output)))
        for entry in entries
        if (source := str(Path(entry.path).absolute())) not in bad
    ]
    write_list(args.output / "list.csv", copies)
    print(f"{len(sources) - len(bad)} of {len(sources)} videos are in {args.output}")
    return 1 if bad else 0


if __name__ == "__main__":
    run_tool(main)
