"""Decodes every frame of every video of a list, and says which files are bad.

    diffmae check-videos videos/
    diffmae check-videos train.csv --output report.jsonl --workers 16
    diffmae check-videos train.csv --output report.jsonl --clean good.csv --timeout 120

The report has one JSON line {path, ok, reason} for each file. Run again with the same --output, the check
continues where it stopped, and checks the bad files again. A file is also bad if it is cut off. Exit code 0:
all files are good; 1: some are bad; 2: wrong usage.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from diffmae_video.cli import tool_parser
from diffmae_video.errors import InputError
from diffmae_video.files import write_text
from diffmae_video.runtime.progress import ProgressBar


def main() -> int:
    parser = tool_parser(__doc__)
    parser.add_argument("list", metavar="LIST_OR_FOLDER", help="what DATA.TRAIN takes")
    parser.add_argument("--root", metavar="DIR", default="", help="where relative paths of the list start")
    parser.add_argument("--images", action="store_true", help="check the pictures in a folder as well")
    parser.add_argument("--output", metavar="FILE", type=Path, help="the report, continued if it exists")
    parser.add_argument("--clean", metavar="LIST", type=Path, help="where to write a list of the good files")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="files at once (default: cores)"
    )
    parser.add_argument(
        "--timeout", type=float, default=300.0, metavar="S", help="seconds for a file (default: 300)"
    )
    args = parser.parse_args()
    if args.workers < 1 or args.timeout <= 0:
        raise InputError("--workers must be 1 or more, and --timeout above 0")

    from diffmae_video.data import read_list, write_list
    from diffmae_video.decoding.many_files import for_each_file, read_report
    from diffmae_video.decoding.storage import absolute

    entries = read_list(args.list, args.root, args.images)
    paths = list(dict.fromkeys(entry.path for entry in entries))
    report_so_far = read_report(args.output) if args.output else {}
    verdicts = {path: verdict for path, verdict in report_so_far.items() if verdict.ok}
    todo = [path for path in paths if path not in verdicts]
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        # rewritten, so that a line that was cut off does not stay in the middle
        write_text(args.output, "".join(v.line() for v in verdicts.values()))
    report = args.output.open("a", encoding="utf-8", buffering=1) if args.output else None
    bar = ProgressBar(total=len(paths), initial=len(paths) - len(todo), desc="checking", unit=" files")
    check = lambda decoder, path: decoder.check(path, args.timeout)  # noqa: E731
    for verdict in for_each_file(todo, check, args.workers, args.timeout):
        verdicts[verdict.path] = verdict
        if report:
            report.write(verdict.line())
        if not verdict.ok:
            tqdm.write(verdict.reason, file=sys.stdout)
        bar.update()
    bar.close()
    bad = {path for path in paths if not verdicts[path].ok}
    if args.clean:
        good = [entry for entry in entries if entry.path not in bad]
        write_list(args.clean, [replace(entry, path=absolute(entry.path)) for entry in good])
    print(f"{len(paths)} files, {len(bad)} bad")
    return 1 if bad else 0
