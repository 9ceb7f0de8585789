"""What the events of the page that cleans films do."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diffmae_video.errors import InputError
from diffmae_video.film.holes import HoleEdits
from diffmae_video.pages.app_callbacks import mistakes_on_page, painted_area
from diffmae_video.pages.estimate_panel import estimate_panel
from diffmae_video.pages.film_cleaning import MAX_MINUTES, Job, clean_film, frame_at

AREA, BOX = "the area itself", "a box around it"
STAYS, FOLLOWS = "stays in its place", "follows the camera"
MAX_SIDE = 960  # pixels of a frame on the page
MAX_PAGE_EDGE = 50  # pixels by which a hole grows or fades


class FilmCallbacks:
    """The page's event handlers. A user's mistake becomes a one-line message on the page.

    Args:
        gradio: the module, which is imported late.
        folder: where the latest fit is kept; only one runs at a time.
    """

    def __init__(self, gradio: Any, folder: Path) -> None:
        self.gradio, self.folder = gradio, folder

    def show_frame(self, path: str | None, second: float) -> tuple[Any, Any]:
        """Updates the slider and the frame to paint on, after an upload or a new second."""
        if path is None:
            return self.gradio.update(value=0, visible=False), self.gradio.update(value=None, visible=False)
        with mistakes_on_page(self.gradio, path):
            frame, _, last = frame_at(Path(path), second)
        slider = self.gradio.update(maximum=max(last, 0.01), value=min(second, last), visible=last > 0)
        picture = {"background": for_page(frame), "layers": [], "composite": None}
        return slider, self.gradio.update(value=picture, visible=True)

    def compare(self, path: str | None, result: str | None, second: float) -> Any:
        """A frame of the upload and of the result, for the slider between them."""
        if path is None or result is None:
            return None
        with mistakes_on_page(self.gradio, path):
            before, after = (for_page(frame_at(Path(film), second)[0]) for film in (path, result))
        return before, after

    def clean(
        self,
        path: str | None,
        second: float,
        editor: dict[str, Any] | None,
        form: str,
        place: str,
        dilate: int | None,
        feather: int | None,
        minutes: float,
    ) -> Iterator[tuple[Any, ...]]:
        """Fills the hole, after fitting a model for some ``minutes``; with 0 there is no model.

        Yields the progress, the estimate, the preview, the result film, the comparison, its slider, and the
        download.
        """
        gr = self.gradio
        with mistakes_on_page(gr, path):
            if path is None:
                raise InputError("choose a film first")
            painted = painted_area(editor)
            if painted is None or not painted.any():
                raise InputError("nothing is painted; paint over what should go")
            if not 0 <= minutes <= MAX_MINUTES:
                raise InputError(f"the time to learn is at most {MAX_MINUTES:g} minutes")
            if form == BOX:
                painted = bounding_box(painted)
            _, number, last = frame_at(Path(path), second)
            edits = HoleEdits(dilate=edge(dilate), feather=edge(feather))
            hidden = gr.update(visible=False)
            estimate = hidden
            with tempfile.TemporaryDirectory() as folder:  # gradio copies the files before we go on
                output = Path(folder) / f"{Path(path).stem}-clean.mp4"
                job = Job(
                    Path(path), output, self.folder, painted, number, place == FOLLOWS, edits, 60 * minutes
                )
                for report in clean_film(job):
                    preview = gr.skip()
                    if report.picture is not None:
                        preview = gr.update(value=for_page(report.picture), visible=True)
                    if report.estimate is not None:
                        estimate = gr.update(value=estimate_panel(report.estimate), visible=True)
                    progress = progress_line(report.sentence, report.share)
                    if not report.is_done:
                        yield (
                            progress,
                            estimate,
                            preview,
                            hidden,
                            hidden,
                            hidden,
                            gr.update(interactive=False),
                        )
                yield (
                    progress_line("Done", 1.0),
                    gr.skip(),
                    hidden,
                    gr.update(value=str(output), visible=True),
                    gr.update(value=self.compare(path, str(output), second), visible=True),
                    gr.update(maximum=max(last, 0.01), value=min(second, last), visible=True),
                    gr.update(value=str(output), interactive=True),
                )


def for_page(frame: np.ndarray) -> np.ndarray:
    """A frame at a size that fits on a page."""
    scale = min(1.0, MAX_SIDE / max(frame.shape[:2]))
    size = (max(1, round(scale * frame.shape[1])), max(1, round(scale * frame.shape[0])))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))


def bounding_box(painted: np.ndarray) -> np.ndarray:
    """The smallest box around what is painted: bool [h, w]."""
    rows, columns = np.nonzero(painted.any(1))[0], np.nonzero(painted.any(0))[0]
    box = np.zeros_like(painted)
    box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return box


def edge(pixels: int | None) -> int:
    """A number of pixels from the page.

    Raises:
        InputError: it is negative, or larger than an edge may be.
    """
    if not 0 <= (pixels or 0) <= MAX_PAGE_EDGE:
        raise InputError(f"the hole can grow and fade by 0 to {MAX_PAGE_EDGE} pixels, not {pixels}")
    return int(pixels or 0)


def progress_line(sentence: str, share: float | None) -> str:
    """How far a job is, as HTML; without a share, the bar only shows that something happens."""
    value = "" if share is None else f' value="{share:.3f}"'
    text = html.escape(sentence)
    bar = (
        f'<progress max="1"{value} aria-label="{text}" style="width: 100%; accent-color: #1d4ed8"></progress>'
    )
    return f'<p role="status">{text}</p>{bar}'
