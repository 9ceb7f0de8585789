"""The layout of the app's page, in gradio's blocks."""

from typing import Any

from diffmae_video.decoding.file_types import IMAGE_ENDINGS, VIDEO_ENDINGS
from diffmae_video.diffusion import SAMPLERS
from diffmae_video.mask_kinds import OWN_SHARE
from diffmae_video.pages.app_callbacks import PANEL_TITLES, Callbacks, stopped_line
from diffmae_video.pages.live_inpainting import KINDS, MAX_SECONDS, PAINTED, LiveInpainting
from diffmae_video.pages.paint_editor import paint_editor

MAX_MEGABYTES = 200  # of an upload
FILE_SECONDS = 3600  # uploads and results stay on disk this long
MAX_WAITING_RUNS = 8


def build_page(gradio: Any, live: LiveInpainting) -> Any:
    """The page as gradio's blocks, ready to launch."""
    gr, callbacks = gradio, Callbacks(gradio, live)
    is_sampled = live.timesteps > 1
    with gr.Blocks(
        title="DiffMAE live", delete_cache=(FILE_SECONDS, FILE_SECONDS), analytics_enabled=False
    ) as page:
        gr.Markdown(
            f"# DiffMAE live\nFills the masked part of a video or a picture. The {type(live.model).__name__} "
            f"takes {_window_text(live)}, cropped from the middle of the upload. Uploads may have up to "
            f"{MAX_MEGABYTES} MB and {MAX_SECONDS // 60} minutes."
        )
        with gr.Row():
            with gr.Column(min_width=300):
                upload = gr.File(
                    label="Video or picture", file_types=[*VIDEO_ENDINGS, *IMAGE_ENDINGS], height=140
                )
                start = gr.Slider(0, 1, 0, step=0.01, label="Start of the window, in seconds", visible=False)
                kind = gr.Radio(list(KINDS), value=KINDS[0], label="Mask")
                ratio = gr.Slider(0.05, 0.95, 0.75, step=0.05, label="Masked share")
                editor = paint_editor(gr, "Paint the mask")
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
                    run_button = gr.Button("Run", variant="primary", min_width=120)
                    stop_button = gr.Button("Stop", variant="stop", min_width=120)
            with gr.Column(min_width=300, scale=2):
                gr.Markdown(f"From left to right: {', '.join(PANEL_TITLES)}")  # legible on a phone too
                picture = gr.Image(
                    show_label=False,  # it would cover the titles inside the picture
                    format="png",
                    interactive=False,
                    buttons=["fullscreen"],
                    alt_text="truth, masked input and prediction side by side",
                )
                status = gr.HTML('<p role="status">Nothing has run yet.</p>')
                film = gr.Video(
                    show_label=False, visible=False, autoplay=True, loop=True, interactive=False, buttons=[]
                )
                download = gr.DownloadButton("Download the prediction", interactive=False)

        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        for event in (upload.change, start.release):
            event(callbacks.show_window, [upload, start], [start, editor], concurrency_limit=2, **private)
        kind.change(
            lambda kind: (
                gr.update(visible=kind not in (*OWN_SHARE, PAINTED)),
                gr.update(visible=kind == PAINTED),
            ),
            kind,
            [ratio, editor],
            **private,
        )
        choices = [upload, start, kind, ratio, editor, sampler, steps, seed]
        run = run_button.click(
            callbacks.run, choices, [picture, status, film, download], concurrency_limit=1, **private
        )
        # The run has ended only once the click's own function has returned; the last status line follows.
        ended = stop_button.click(lambda: None, cancels=[run], queue=False, **private)
        ended.then(stopped_line, None, status, **private)
    page.queue(max_size=MAX_WAITING_RUNS)
    return page


def _window_text(live: LiveInpainting) -> str:
    (frames, stride, _), (height, width) = live.sampler, live.size
    if frames == 1:
        return f"one picture of {width} × {height} pixels"
    apart = f", {stride} apart" if stride > 1 else ""
    return f"{frames} frames of {width} × {height} pixels{apart}"


def build_theme(gradio: Any) -> Any:
    """gradio's default theme with the system's fonts and with enough contrast (WCAG AA)."""
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
