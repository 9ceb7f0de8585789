"""Writes a page: a folder with index.html and media/ that opens from disk and from any web server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffmae_video.errors import require
from diffmae_video.files import new_folder, write_text


def write_page(output: Path, template: str, write_media: Callable[[Path], dict[str, Any]]) -> Path:
    """Writes ``index.html`` and ``media/`` into a folder and returns the path of the page.

    An earlier page and its media stay intact until the new ones are complete.

    Args:
        output: the folder. Other files in it are left alone.
        template: an HTML file of this package, for jinja2.
        write_media: called with an empty folder that becomes ``media/``; returns the template's variables.

    Raises:
        MissingExtraError: jinja2 is not installed.
        OSError: the folder cannot be written, or the disk is full.
    """
    jinja2 = require("jinja2", "gallery")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("diffmae_video", "pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    with new_folder(output / "media") as media:
        page = environment.get_template(template).render(**write_media(media))
    write_text(output / "index.html", page)
    return output / "index.html"
