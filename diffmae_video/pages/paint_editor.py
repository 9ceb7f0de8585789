"""The field of the app's pages in which a mask is painted."""

from typing import Any


def paint_editor(gradio: Any, label: str) -> Any:
    """A picture to paint on with one colour; hidden until it has a picture."""
    return gradio.ImageEditor(
        label=label,
        visible=False,
        sources=(),
        transforms=(),
        layers=False,
        buttons=[],
        brush=gradio.Brush(default_size=24, colors=["#ff3b6b"], color_mode="fixed"),
    )
