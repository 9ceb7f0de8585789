"""The page of tools/app.py: choose a window and a mask, and watch the prediction refine."""

from __future__ import annotations

import contextlib
import html
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from diffmae_video.cli import describe
from diffmae_video.decoding.endings import IMAGE_ENDINGS, VIDEO_ENDINGS
from diffmae_video.diffusion import SAMPLERS
from diffmae_video.encoding.clips import panels, to_frames, write_video
from diffmae_video.errors import InputError, require
from diffmae_video.pages.live import KINDS, MAX_SECONDS, PAINTED, LiveInpainting, most_hidden

MAX_MEGABYTES = 200  # of an upload
SHOWN_SIDE = 256  # pixels of a panel, at most or the model's own
SHOWN_EVERY = 0.1  # seconds between two pictures of a run, at least
SETTLED = 0.5  # seconds
KEPT = 3600  # seconds that uploads and results stay on disk
MOST_WAITING = 8  # runs
TITLES = ("truth", "masked input", "prediction")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Callbacks:
    """What the page's events do. What a user can mend is said in one line on the page."""

    def __init__(self, gradio: Any, live: LiveInpainting) -> None:
        self.gradio, self.live = gradio, live
        self.scale = max(1, SHOWN_SIDE // live.size[0])

    def look(self, path: str | None, start: float) -> tuple[Any, Any]:
        """Of an upload or of another start: the choice of starts, and the first frame to paint on."""
        if path is None:
            return self.gradio.update(value=0, visible=False), None
        with self._refusals(path):
            window = self.live.read(path, start)
        frame = window.frames[0].numpy().repeat(self.scale, 0).repeat(self.scale, 1)
        starts = self.gradio.update(
            maximum=max(window.latest, 0.01), value=window.start, visible=window.latest > 0
        )
        return starts, {"background": frame, "layers": [], "composite": None}

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
        """Fills the window: its picture and a sentence, step by step, then the film and the file."""
        gr, live = self.gradio, self.live
        with self._refusals(path):
            if path is None:
                raise InputError("choose a video or a picture first")
            if seed is None:
                raise InputError("give a seed, say 0")
            window = live.read(path, start)
            mask = live.draw_mask(kind, ratio, seed, painted_area(editor))
            truth, hidden = window.frames.movedim(-1, 0).float() / 255, live.hide(window, mask)
            frame = most_hidden(mask, live.model.patch)

            def side_by_side(prediction: Tensor, times: slice) -> np.ndarray:
                clips = [clip[:, times] for clip in (truth, hidden, prediction)]
                return panels(clips, TITLES, self.scale * live.size[0])

            steps, shown = min(int(steps), live.timesteps), -SHOWN_EVERY
            for found in live.refine(window, mask, sampler, steps, seed):
                is_last = found.step == steps
                if is_last or time.monotonic() - shown >= SHOWN_EVERY:
                    shown = time.monotonic()
                    picture = side_by_side(found.clip, slice(frame, frame + 1))[0]
                    said = sentence(found.step, steps, found.t, found.psnr)
                    yield picture, said, gr.update(visible=False), gr.update(interactive=False)
            with tempfile.TemporaryDirectory() as folder:  # the page takes copies
                name = Path(folder) / f"{Path(path).stem}-{kind}-{seed}"
                if window.is_picture or len(window.frames) == 1:
                    result, film = name.with_name(f"{name.name}.png"), gr.update(visible=False)
                    write_video(result, to_frames(found.clip[:, frame : frame + 1]), window.fps)
                else:
                    result = name.with_name(f"{name.name}.mp4")
                    write_video(result, to_frames(found.clip), window.fps)
                    beside = Path(folder) / "side-by-side.mp4"
                    write_video(beside, side_by_side(found.clip, slice(None)), window.fps)
                    film = gr.update(value=str(beside), visible=True)
                yield gr.skip(), gr.skip(), film, gr.update(value=str(result), interactive=True)

    @contextlib.contextmanager
    def _refusals(self, path: str | None) -> Iterator[None]:
        try:
            yield
        except (InputError, OSError) as error:
            message = describe(error)
            if path is not None:  # the server's folders are nothing to the page
                message = message.replace(str(path), Path(path).name)
            raise self.gradio.Error(html.escape(message, quote=False), print_exception=False) from error


def painted_area(editor: dict[str, Any] | None) -> np.ndarray | None:
    """Where any layer of the editor is painted on: bool [h, w]; None without one."""
    layers = (editor or {}).get("layers") or []
    return np.logical_or.reduce([layer[..., 3] > 0 for layer in layers]) if layers else None


def sentence(step: int, steps: int, t: int, decibels: float) -> str:
    """What is to be seen, for the page."""
    where = f"Step {step} of {steps}, t = {t}" if t else "One pass"
    return f'<p role="status">{where}: PSNR in the hole {decibels:.1f} dB</p>'


def say_stopped() -> str:
    """The last word of a run that was stopped."""
    time.sleep(SETTLED)  # steps that are on their way to the page come first, or they would stay in its place
    return '<p role="status">Stopped.</p>'


def build_page(gradio: Any, live: LiveInpainting) -> Any:
    """The page as gradio's blocks."""
    gr, do = gradio, Callbacks(gradio, live)
    (frames, stride, _), (height, width) = live.sampling, live.size
    apart = f", {stride} apart" if stride > 1 else ""
    takes = f"{frames} frames of {width} × {height} pixels{apart}"
    if frames == 1:
        takes = f"one picture of {width} × {height} pixels"
    is_sampled = live.timesteps > 1
    with gr.Blocks(title="DiffMAE live", delete_cache=(KEPT, KEPT), analytics_enabled=False) as page:
        gr.Markdown(
            f"# DiffMAE live\nFills the masked part of a video or a picture. The {type(live.model).__name__} "
            f"takes {takes}, from the middle of what is uploaded: at most {MAX_MEGABYTES} MB and "
            f"{MAX_SECONDS // 60} minutes."
        )
        with gr.Row():
            with gr.Column(min_width=300):
                upload = gr.File(
                    label="Video or picture", file_types=[*VIDEO_ENDINGS, *IMAGE_ENDINGS], height=140
                )
                start = gr.Slider(0, 1, 0, step=0.01, label="Start of the window, in seconds", visible=False)
                kind = gr.Radio(list(KINDS), value=KINDS[0], label="Mask")
                ratio = gr.Slider(0.05, 0.95, 0.75, step=0.05, label="Masked share")
                editor = gr.ImageEditor(
                    label="Paint the mask",
                    visible=False,
                    sources=(),
                    transforms=(),
                    layers=False,
                    buttons=[],
                    brush=gr.Brush(default_size=24, colors=["#ff3b6b"], color_mode="fixed"),
                )
                sampler = gr.Radio(list(SAMPLERS), value="ddim", label="Sampler", visible=is_sampled)
                steps = gr.Slider(
                    1,
                    max(2, live.timesteps),
                    min(50, live.timesteps),
                    step=1,
                    label="Steps",
                    visible=is_sampled,
                )
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1)
                with gr.Row():
                    begin = gr.Button("Run", variant="primary", min_width=120)
                    stop = gr.Button("Stop", variant="stop", min_width=120)
            with gr.Column(min_width=300, scale=2):
                gr.Markdown(f"From left to right: {', '.join(TITLES)}")  # on a phone the picture's are small
                picture = gr.Image(
                    show_label=False,  # it would lie on the titles in the picture
                    format="png",
                    interactive=False,
                    buttons=["fullscreen"],
                    alt_text="truth, masked input and prediction side by side",
                )
                said = gr.HTML('<p role="status">Nothing has run yet.</p>')
                film = gr.Video(
                    show_label=False, visible=False, autoplay=True, loop=True, interactive=False, buttons=[]
                )
                download = gr.DownloadButton("Download the prediction", interactive=False)

        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        upload.change(do.look, [upload, start], [start, editor], concurrency_limit=2, **private)
        start.release(do.look, [upload, start], [start, editor], concurrency_limit=2, **private)
        kind.change(
            lambda kind: (
                gr.update(visible=kind not in ("center", PAINTED)),
                gr.update(visible=kind == PAINTED),
            ),
            kind,
            [ratio, editor],
            **private,
        )
        choices = [upload, start, kind, ratio, editor, sampler, steps, seed]
        run = begin.click(do.run, choices, [picture, said, film, download], concurrency_limit=1, **private)
        # A run is ended when the click's own function has returned, and only then can the last word be said.
        ended = stop.click(lambda: None, cancels=[run], queue=False, **private)
        ended.then(say_stopped, None, said, **private)
    page.queue(max_size=MOST_WAITING)
    return page


def plain_theme(gradio: Any) -> Any:
    """The fonts that are there, and colours of enough contrast (WCAG AA)."""
    theme = gradio.themes.Default(
        primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
    return theme.set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_cancel_background_fill="#b91c1c",
        button_cancel_background_fill_hover="#991b1b",
    )


def serve(folder: Path, host: str, port: int | None) -> None:
    """Serves the page until it is interrupted; it asks nothing of any other machine.

    Uploads and results lie in a folder of their own, which goes with the server.

    Args:
        folder: of a pre-training run.
        host: the address to listen at; those of ``LOOPBACK`` are for this machine alone.
        port: by default the first free one from 7860 on.

    Raises:
        InputError: the folder has no model that inpaints.
        OSError: the port or the address is not to be had.
    """
    live = LiveInpainting(folder)
    require("av", "video")
    with tempfile.TemporaryDirectory(prefix="diffmae-app-") as cache:
        # gradio reads both when it is imported
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": cache}
        gradio = require("gradio", "app")
        page = build_page(gradio, live)
        _, url, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            ssr_mode=False,
            max_file_size=f"{MAX_MEGABYTES}mb",
            footer_links=[],
            theme=plain_theme(gradio),
        )
        try:
            print(f"open {url}", flush=True)
            threading.Event().wait()
        finally:
            page.close(verbose=False)
