"""The layout of the page that cleans films, in gradio's blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffmae_video.decoding.file_types import VIDEO_ENDINGS
from diffmae_video.pages.app_callbacks import stopped_line
from diffmae_video.pages.app_layout import FILE_SECONDS, MAX_MEGABYTES, MAX_WAITING_RUNS
from diffmae_video.pages.film_callbacks import AREA, BOX, FOLLOWS, MAX_PAGE_EDGE, STAYS, FilmCallbacks
from diffmae_video.pages.film_cleaning import MAX_MINUTES, MAX_SECONDS
from diffmae_video.pages.paint_editor import paint_editor

STOPPED = "Stopped. With the same film and hole, Clean goes on from there."


def build_film_page(gradio: Any, folder: Path) -> Any:
    """The page as gradio's blocks, ready to launch.

    Args:
        gradio: the module.
        folder: where the latest fit is kept.
    """
    gr, callbacks = gradio, FilmCallbacks(gradio, folder)
    with gr.Blocks(
        title="DiffMAE: clean a film", delete_cache=(FILE_SECONDS, FILE_SECONDS), analytics_enabled=False
    ) as page:
        gr.Markdown(
            "# Take something out of a film\nPaint over it on one frame. What belongs there is taken from "
            "frames that show it, on this machine; a small model can then learn from the film to correct it. "
            f"Uploads may have up to {MAX_MEGABYTES} MB and {MAX_SECONDS // 60} minutes."
        )
        with gr.Row():
            with gr.Column(min_width=300):
                upload = gr.File(label="Film", file_types=list(VIDEO_ENDINGS), height=140)
                second = gr.Slider(0, 1, 0, step=0.01, label="Second to paint on", visible=False)
                editor = paint_editor(gr, "Paint over what should go")
                form = gr.Radio([AREA, BOX], value=AREA, label="What is painted stands for")
                place = gr.Radio([STAYS, FOLLOWS], value=STAYS, label="In the other frames it")
                with gr.Row():
                    dilate = gr.Number(
                        4,
                        label="Grow by, pixels",
                        precision=0,
                        minimum=0,
                        maximum=MAX_PAGE_EDGE,
                        min_width=120,
                    )
                    feather = gr.Number(
                        3,
                        label="Fade over, pixels",
                        precision=0,
                        minimum=0,
                        maximum=MAX_PAGE_EDGE,
                        min_width=120,
                    )
                minutes = gr.Slider(
                    0,
                    MAX_MINUTES,
                    0,
                    step=0.1,
                    label="Minutes to learn",
                    info="0: no model; a short film takes about a minute",
                )
                with gr.Row():
                    clean_button = gr.Button("Clean", variant="primary", min_width=120)
                    stop_button = gr.Button("Stop", variant="stop", min_width=120)
            with gr.Column(min_width=300, scale=2):
                progress = gr.HTML('<p role="status">Nothing has run yet.</p>')
                estimate = gr.HTML(visible=False)
                preview = gr.Image(
                    label="So far",
                    format="png",
                    visible=False,
                    interactive=False,
                    buttons=["fullscreen"],
                    alt_text="the frame as it is filled so far",
                )
                comparison = gr.ImageSlider(
                    label="Before and after", visible=False, interactive=False, buttons=["fullscreen"]
                )
                compared = gr.Slider(0, 1, 0, step=0.01, label="Second to compare", visible=False)
                film = gr.Video(label="Result", visible=False, interactive=False, buttons=[])
                download = gr.DownloadButton("Download the film", interactive=False)

        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        for event in (upload.change, second.release):
            event(callbacks.show_frame, [upload, second], [second, editor], concurrency_limit=2, **private)
        compared.release(
            callbacks.compare, [upload, film, compared], comparison, concurrency_limit=2, **private
        )
        run = clean_button.click(
            callbacks.clean,
            [upload, second, editor, form, place, dilate, feather, minutes],
            [progress, estimate, preview, film, comparison, compared, download],
            concurrency_limit=1,
            **private,
        )
        # The run has ended only once the click's own function has returned; the last line follows.
        ended = stop_button.click(lambda: None, cancels=[run], queue=False, **private)
        ended.then(lambda: stopped_line(STOPPED), None, progress, **private)
    page.queue(max_size=MAX_WAITING_RUNS)
    return page
