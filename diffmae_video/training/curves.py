"""A run's curves and pictures for TensorBoard."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffmae_video.errors import require

FOLDER = "tensorboard"


class Curves:
    """Writes a run's curves and pictures for TensorBoard, on the main process.

    Everything is on disk when a call returns, so that a killed run loses none of it.

    Args:
        folder: of the run.
        resumed_at: the step that a resumed run continues from. Points of later steps that the folder already
            holds no longer count. None for a run from its beginning.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, folder: str | Path, resumed_at: int | None = None) -> None:
        require("tensorboard", "train")
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(Path(folder) / FOLDER, purge_step=(resumed_at or 0) + 1)

    def add_steps(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds lines of metrics.jsonl; each number except ``step`` becomes a point of ``train/<name>``."""
        for row in rows:
            for name, value in row.items():
                if name != "step" and isinstance(value, (int, float)):
                    self.writer.add_scalar(f"train/{name}", value, row["step"])
        self.writer.flush()

    def add_validation(self, step: int, figures: Mapping[str, float]) -> None:
        """Adds the figures of a validation as points of ``validation/<name>``."""
        for name, value in figures.items():
            self.writer.add_scalar(f"validation/{name}", value, step)
        self.writer.flush()

    def add_picture(self, step: int, image: np.ndarray) -> None:
        """Adds a picture, uint8 [h, w, 3]."""
        self.writer.add_image("validation/inpainting", image, step, dataformats="HWC")
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()
