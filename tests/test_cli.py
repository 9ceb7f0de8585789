"""Errors of tools: one line on stderr, and the documented exit codes."""

import errno
import json
import os
import sys

import pytest
from torch.utils.data import DataLoader, Dataset

from diffmae_video import InputError
from diffmae_video.cli import describe, print_result, run_tool, tool_parser, training_parser
from tests.repository import ROOT


def exit_code(main):
    with pytest.raises(SystemExit) as error:
        run_tool(main)
    return error.value.code


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("a.mp4: is empty;\n  give another"), 2, "error: a.mp4: is empty; give another\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
    ],
)
def test_an_error_is_one_line_and_a_code(capfd, error, code, line):
    def main():
        raise error

    assert exit_code(main) == code
    assert capfd.readouterr().err == line


def test_the_code_of_main_is_passed_on(capfd):
    assert exit_code(lambda: 1) == 1
    assert exit_code(lambda: None) == 0


def test_other_errors_keep_their_traceback():
    with pytest.raises(RuntimeError):
        run_tool(lambda: (_ for _ in ()).throw(RuntimeError("a bug")))


def test_a_full_disk_names_the_remedy():
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.png")
    assert "a.png" in describe(error)
    assert "free some space or choose another --output" in describe(error)
    assert "free some space" not in describe(OSError(errno.EACCES, os.strerror(errno.EACCES), "a.png"))


class Broken(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise InputError("b.mp4: is cut off")


def test_the_error_of_a_loaders_worker_is_one_line():
    with pytest.raises(InputError) as caught:
        next(iter(DataLoader(Broken(), num_workers=1)))
    assert describe(caught.value) == "b.mp4: is cut off"


def test_a_wrong_flag_is_one_line(capsys):
    for parser in (tool_parser("About."), training_parser("About.")):
        with pytest.raises(SystemExit) as error:
            parser.parse_args(["--outptu", "x"])
        assert error.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_type_of_an_argument_words_its_own_errors(capsys):
    def even(text):
        if int(text) % 2:
            raise InputError(f"{text} is odd;\n give an even number")
        return int(text)

    parser = tool_parser("About.")
    parser.add_argument_group("numbers").add_argument("--number", type=even)
    assert parser.parse_args(["--number", "4"]).number == 4
    for text, reason in (("3", "3 is odd; give an even number"), ("x", "invalid even value: 'x'")):
        with pytest.raises(SystemExit):
            parser.parse_args(["--number", text])
        assert capsys.readouterr().err.startswith(f"error: argument --number: {reason}")


RESULT = {"psnr": 27.123456789, "share": 0.000123456789, "name": "a", "rows": [{"x": 1 / 3, "none": None}, 7]}


def test_a_result_is_one_short_line_of_json_for_scripts(capsys):
    print_result(RESULT, ["out.mp4"])
    rows = [{"x": 0.3333, "none": None}, 7]
    expected = {"psnr": 27.1235, "share": 0.0001235, "name": "a", "rows": rows}
    assert capsys.readouterr().out == json.dumps(expected) + "\n"


def test_on_a_terminal_it_is_text(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_result({"top1": 2 / 3, "videos": 6}, ["runs/a"])
    assert capsys.readouterr().out == "top1    0.6667\nvideos  6\nwrote runs/a\n"
    print_result(RESULT, ["a.mp4", "a-2.mp4", "a.json"], is_shown=True)
    assert capsys.readouterr().out == "wrote a.mp4, a-2.mp4 and a.json\n"
    print_result(RESULT, is_shown=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("path", sorted((ROOT / "diffmae_video/commands").glob("*.py")), ids=lambda p: p.stem)
def test_no_command_prints_json_in_its_own_way(path):
    assert "json.dumps" not in path.read_text()
