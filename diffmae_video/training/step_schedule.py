"""The length of a run, the size of its steps, and their learning rates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from diffmae_video.training.optimizer import WarmupCosine


@dataclass(frozen=True)
class Plan:
    """The steps of a run and their learning rates."""

    to_continue: ClassVar = "continue with --resume"  # what to do when a signal has stopped the run

    steps: int  # optimizer steps of the run
    warmup: int  # optimizer steps of linear warm-up
    unit: str  # what the training set consists of, videos or pictures
    count: int  # videos in the training set
    videos: int  # videos of one optimizer step, over all processes
    clips: int  # clips of one optimizer step, over all processes
    base_lr: float  # learning rate for an effective batch of 256
    count_repeats: bool  # whether the effective batch counts clips instead of videos

    @property
    def planned_steps(self) -> int | None:
        """The steps that are known before the run; None for a run that ends by the clock."""
        return self.steps

    @property
    def lr(self) -> float:
        """The peak learning rate: base * effective batch / 256."""
        return self.base_lr * (self.clips if self.count_repeats else self.videos) / 256

    @cached_property
    def rate(self) -> WarmupCosine:
        """The learning rate of each step."""
        return WarmupCosine(self.lr, self.steps, self.warmup)

    def __str__(self) -> str:
        by_videos, by_clips = (self.videos, self.unit), (self.clips, "clips")
        (batch, counted), (other_batch, other) = (
            (by_clips, by_videos) if self.count_repeats else (by_videos, by_clips)
        )
        if_other = self.base_lr * other_batch / 256
        return (
            f"{self.steps} steps of {self.videos} {self.unit} = {self.clips} clips, "
            f"learning rate {self.lr:.3g} = {self.base_lr:.3g} x {batch} {counted} / 256 "
            f"(by {other} it would be {if_other:.3g}), warm-up {self.warmup} steps"
        )
