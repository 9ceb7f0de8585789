"""Videos and pictures in folders: links are followed, and what is skipped is counted."""

import warnings
from pathlib import Path

import pytest

from diffmae_video import InputError
from diffmae_video.data import Entry, find_videos, read_list
from diffmae_video.decoding.file_types import VIDEO_ENDINGS
from diffmae_video.errors import InputWarning


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_every_video_ending_is_found_in_either_case(tmp_path):
    names = [
        f"{case(ending[1:])}{case(ending)}" for ending in VIDEO_ENDINGS for case in (str.lower, str.upper)
    ]
    touch(*(tmp_path / name for name in names))
    assert {path.name for path in find_videos(tmp_path)} == set(names)


def test_linked_files_and_folders_are_followed(tmp_path):
    touch(tmp_path / "disk/far/3.mp4", tmp_path / "root/run/1.mp4", tmp_path / "root/walk/2.mp4")
    (tmp_path / "root/jump").symlink_to(tmp_path / "disk/far")
    (tmp_path / "root/run/again.mp4").symlink_to("1.mp4")
    (tmp_path / "root/walk/up").symlink_to(tmp_path / "root")  # a loop
    expected = [
        ("jump/3.mp4", "jump"),
        ("run/1.mp4", "run"),
        ("run/again.mp4", "run"),
        ("walk/2.mp4", "walk"),
    ]
    assert read_list(tmp_path / "root") == [
        Entry(str(tmp_path / "root" / name), label=label) for name, label in expected
    ]
    for name in ("run", "walk"):
        (tmp_path / "links").mkdir(exist_ok=True)
        (tmp_path / "links" / name).symlink_to(tmp_path / "root" / name)
    assert {entry.label for entry in read_list(tmp_path / "links")} == {"run", "walk"}


def test_two_links_to_one_folder_are_both_followed(tmp_path):
    touch(tmp_path / "root/run/1.mp4")
    (tmp_path / "root/sprint").symlink_to("run")
    assert [entry.label for entry in read_list(tmp_path / "root")] == ["run", "sprint"]


def test_skipped_files_are_counted_in_one_line(tmp_path):
    touch(tmp_path / "a.mp4", *(tmp_path / f"{i}.HEIC" for i in range(3)), tmp_path / "b/list.txt")
    touch(tmp_path / "README", tmp_path / "b.jpg", tmp_path / ".DS_Store", tmp_path / ".git/config")
    (tmp_path / "c.mp4").symlink_to("nowhere.mp4")
    for images, found, message in (
        (False, 1, "7 files skipped: 3 .heic, "),
        (True, 2, "6 files skipped: 3 .heic, "),
    ):
        with pytest.warns(InputWarning, match=message) as told:
            assert len(find_videos(tmp_path, images)) == found
        assert len(told) == 1
        for part in ("1 .txt", "1 without an ending", "1 broken link"):
            assert part in str(told[0].message)


def test_rare_endings_are_counted_together(tmp_path):
    touch(tmp_path / "a.mp4", *(tmp_path / f"b.{ending}" for ending in "cdefghi"))
    with pytest.warns(InputWarning, match="7 files skipped: .*, 2 with other endings$"):
        find_videos(tmp_path)


def test_nothing_to_count_is_nothing_to_say(tmp_path):
    touch(tmp_path / "a.mp4", tmp_path / ".b.txt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_videos(tmp_path) == [tmp_path / "a.mp4"]


@pytest.mark.parametrize(
    ("name", "images", "message"),
    [
        ("a.txt", False, r"no video in it \(1 file skipped: 1 \.txt\); looked for \.mp4, .*\.apng$"),
        ("a.txt", True, r"no video or picture in it \(.*\); looked for \.mp4, .*\.jpg, .*\.bmp$"),
        ("a.heic", True, r"no video or picture in it \(1 file skipped: 1 \.heic\)"),
        ("a.jpg", False, r"no video in it, but 1 picture; pictures are read .*DATA\.NUM_FRAMES 1"),
        (".a.mp4", False, "no video in it; looked for"),
        (None, False, "no such folder"),
    ],
)
def test_a_folder_without_videos_is_named(tmp_path, name, images, message):
    folder = Path(tmp_path) / "folder"
    if name:
        touch(folder / name)
    with pytest.raises(InputError, match=f"folder: {message}"):
        find_videos(folder, images)


def test_folders_of_frames_are_videos(tmp_path):
    touch(*(tmp_path / "run/a" / f"frame{i:03d}.jpg" for i in range(7, 12)), tmp_path / "run/a/notes.txt")
    touch(*(tmp_path / "walk/b" / f"{i}.PNG" for i in range(8, 12)), tmp_path / "walk/c.mp4")
    with pytest.warns(InputWarning) as told:
        entries = read_list(tmp_path)
    assert [str(warning.message).partition(": ")[2] for warning in told] == [
        "1 file skipped: 1 .txt",
        "2 folders of numbered pictures read as videos of these frames",
    ]
    expected = [("run/a", "run"), ("walk/b", "walk"), ("walk/c.mp4", "walk")]
    assert entries == [Entry(str(tmp_path / name), label=label) for name, label in expected]
    with pytest.warns(InputWarning, match="1 folder of numbered pictures"):
        assert read_list(tmp_path / "walk/b") == [Entry(str(tmp_path / "walk/b"))]
    assert len(find_videos(tmp_path / "walk", images=True)) == 5  # pictures, where these are looked for


@pytest.mark.parametrize(
    "names", [["1.jpg"], ["1.jpg", "3.jpg"], ["a1.jpg", "b2.jpg"], ["a.jpg", "b.jpg"], ["1.jpg", "2.png"]]
)
def test_other_pictures_are_not_frames(tmp_path, names):
    touch(*(tmp_path / name for name in names))
    with pytest.raises(
        InputError, match=r"no video in it, but \d pictures?; pictures are read for clips of one"
    ):
        find_videos(tmp_path)


def test_a_poster_beside_videos_is_not_a_film(tmp_path):
    touch(tmp_path / "a.mp4", tmp_path / "1.jpg", tmp_path / "2.jpg")
    with pytest.warns(InputWarning, match="2 files skipped: 2 .jpg"):
        assert find_videos(tmp_path) == [tmp_path / "a.mp4"]


def test_a_folder_without_videos_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="no video in it"):
        find_videos(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find_videos(tmp_path / "none")
