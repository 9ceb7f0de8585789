"""A page folder is complete or unchanged."""

import pytest

from diffmae_video.pages.page_folder import write_page

VARIABLES = {"result": {"study": "<b>", "budget": "steps", "val": 1, "classes": 2}}


def write(output, text="a"):
    def write_media(media):
        assert list(media.iterdir()) == []
        (media / "file.txt").write_text(text)
        if text == "fail":
            raise OSError("the disk is full")
        return VARIABLES

    return write_page(output, "comparison.html", write_media)


def test_the_page_and_its_media_are_written_and_names_are_escaped(tmp_path):
    page = write(tmp_path / "page")
    assert page == tmp_path / "page/index.html"
    assert "&lt;b&gt;" in page.read_text()
    assert "<b>" not in page.read_text()
    assert (tmp_path / "page/media/file.txt").read_text() == "a"


def test_a_failure_changes_nothing(tmp_path):
    page = write(tmp_path)
    (tmp_path / "mine.txt").write_text("kept")
    text = page.read_text()
    with pytest.raises(OSError, match="disk is full"):
        write(tmp_path, "fail")
    assert page.read_text() == text
    assert (tmp_path / "media/file.txt").read_text() == "a"
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "media", "mine.txt"}
    write(tmp_path, "b")
    assert (tmp_path / "media/file.txt").read_text() == "b"
    assert (tmp_path / "mine.txt").exists()
