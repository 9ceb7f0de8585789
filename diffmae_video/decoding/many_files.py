"""Handles the files of a list in parallel, in decoding processes that may hang or crash."""

import json
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from diffmae_video.decoding.process import DecodingProcess
from diffmae_video.decoding.reader import VideoError
from diffmae_video.errors import InputError


@dataclass(frozen=True)
class Verdict:
    """The result for one file. ``reason`` says what is wrong; it is empty for a good file."""

    path: str
    ok: bool
    reason: str

    def line(self) -> str:
        """The verdict as a line of JSON."""
        return json.dumps(asdict(self)) + "\n"


def for_each_file(
    paths: Sequence[str], do: Callable[[DecodingProcess, str], object], workers: int, timeout: float
) -> Iterator[Verdict]:
    """Calls ``do`` for each file in ``workers`` processes, with ``timeout`` seconds each, in any order."""
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    done: queue.SimpleQueue[Verdict | BaseException] = queue.SimpleQueue()
    for path in paths:
        todo.put(path)

    def work() -> None:
        try:
            with DecodingProcess(timeout) as decoder:
                while True:
                    path = todo.get_nowait()
                    try:
                        do(decoder, path)
                        done.put(Verdict(path, True, ""))
                    except VideoError as error:
                        done.put(Verdict(path, False, str(error)))
        except queue.Empty:
            pass
        except BaseException as error:  # raised by the consumer: an exception in a thread would be lost
            done.put(error)

    for _ in range(min(workers, len(paths))):
        threading.Thread(target=work, daemon=True).start()
    for _ in paths:
        verdict = done.get()
        if isinstance(verdict, BaseException):
            raise verdict
        yield verdict


def read_report(path: Path) -> dict[str, Verdict]:
    """Reads the verdicts of an earlier check, which may have been interrupted, by path.

    Without a file there are no verdicts.

    Raises:
        InputError: the file is not a report.
    """
    verdicts: dict[str, Verdict] = {}
    if not path.exists():
        return verdicts
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.split("\n"), 1):
        if number > text.count("\n"):
            break  # empty, or the last line of a killed check
        try:
            verdict = Verdict(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{path}: line {number}: not a report of check_videos; give another --output"
            ) from error
        verdicts[verdict.path] = verdict
    return verdicts
