"""What the events of the app's page do."""

import contextlib
import html
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from diffmae_video.cli import describe
from diffmae_video.encoding.clips import panels, to_frames, write_video
from diffmae_video.errors import InputError
from diffmae_video.pages.live_inpainting import LiveInpainting, fullest_frame

PANEL_TITLES = ("truth", "masked input", "prediction")
PANEL_SIDE = 256  # pixels; larger for models of larger clips
REFRESH_SECONDS = 0.1  # least time between two pictures of a run
SETTLE_SECONDS = 0.5


class Callbacks:
    """The page's event handlers. A user's mistake becomes a one-line message on the page.

    Args:
        gradio: the module, which is imported late.
        live: the model.
    """

    def __init__(self, gradio: Any, live: LiveInpainting) -> None:
        self.gradio, self.live = gradio, live
        self.scale = max(1, PANEL_SIDE // live.size[0])

    def show_window(self, path: str | None, start: float) -> tuple[Any, Any]:
        """Updates the start slider and the frame to paint on, after an upload or a new start."""
        if path is None:
            return self.gradio.update(value=0, visible=False), None
        with mistakes_on_page(self.gradio, path):
            window = self.live.read(path, start)
        frame = window.frames[0].numpy().repeat(self.scale, 0).repeat(self.scale, 1)
        slider = self.gradio.update(
            maximum=max(window.latest, 0.01), value=window.start, visible=window.latest > 0
        )
        return slider, {"background": frame, "layers": [], "composite": None}

    def run(
        self,
        path: str | None,
        start: float,
        kind: str,
        ratio: float,
        editor: dict[str, Any] | None,
        sampler: str,
        steps: int,
        seed: int | None,
    ) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Fills the window. Yields a picture and a status line at each step, then the film and the file."""
        gr, live = self.gradio, self.live
        with mistakes_on_page(gr, path):
            if path is None:
                raise InputError("choose a video or a picture first")
            if seed is None:
                raise InputError("enter a seed, for example 0")
            window = live.read(path, start)
            mask = live.draw_mask(kind, ratio, seed, painted_area(editor))
            truth, masked = window.frames.movedim(-1, 0).float() / 255, live.grey_out(window, mask)
            frame = fullest_frame(mask, live.model.patch)

            def side_by_side(prediction: Tensor, times: slice) -> np.ndarray:
                clips = [clip[:, times] for clip in (truth, masked, prediction)]
                return panels(clips, PANEL_TITLES, self.scale * live.size[0])

            steps, last_refresh = min(int(steps), live.timesteps), -REFRESH_SECONDS
            for refinement in live.refine(window, mask, sampler, steps, seed):
                is_last = refinement.step == steps
                if is_last or time.monotonic() - last_refresh >= REFRESH_SECONDS:
                    last_refresh = time.monotonic()
                    picture = side_by_side(refinement.clip, slice(frame, frame + 1))[0]
                    status = status_line(refinement.step, steps, refinement.t, refinement.psnr)
                    yield picture, status, gr.update(visible=False), gr.update(interactive=False)
            prediction = refinement.clip
            with tempfile.TemporaryDirectory() as folder:  # gradio copies the files before we go on
                name = Path(folder) / f"{Path(path).stem}-{kind}-{seed}"
                if window.is_picture or len(window.frames) == 1:
                    result, film = name.with_name(f"{name.name}.png"), gr.update(visible=False)
                    write_video(result, to_frames(prediction[:, frame : frame + 1]), window.fps)
                else:
                    result = name.with_name(f"{name.name}.mp4")
                    write_video(result, to_frames(prediction), window.fps)
                    comparison = Path(folder) / "side-by-side.mp4"
                    write_video(comparison, side_by_side(prediction, slice(None)), window.fps)
                    film = gr.update(value=str(comparison), visible=True)
                yield gr.skip(), gr.skip(), film, gr.update(value=str(result), interactive=True)


@contextlib.contextmanager
def mistakes_on_page(gradio: Any, path: str | None) -> Iterator[None]:
    """Turns a user's mistake into a message on the page, which must not show the server's folders."""
    try:
        yield
    except (InputError, OSError) as error:
        message = describe(error)
        if path is not None:
            message = message.replace(str(path), Path(path).name)
        raise gradio.Error(html.escape(message, quote=False), print_exception=False) from error


def painted_area(editor: dict[str, Any] | None) -> np.ndarray | None:
    """The pixels that any layer of the image editor covers: bool [h, w], or None without layers."""
    layers = (editor or {}).get("layers") or []
    return np.logical_or.reduce([layer[..., 3] > 0 for layer in layers]) if layers else None


def status_line(step: int, steps: int, t: int, decibels: float) -> str:
    """How far a run is, as HTML. A model without timesteps has t = 0."""
    progress = f"Step {step} of {steps}, t = {t}" if t else "One pass"
    return f'<p role="status">{progress}: PSNR in the hole {decibels:.1f} dB</p>'


def stopped_line(sentence: str = "Stopped.") -> str:
    """The status line after a stop."""
    time.sleep(SETTLE_SECONDS)  # steps that are on their way to the page would overwrite it
    return f'<p role="status">{sentence}</p>'
