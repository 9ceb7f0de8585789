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
    unit: str  # what the training set consists of, video or picture
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
        drawn, clips = _plural(self.videos, self.unit), _plural(self.clips, "clip")
        if self.videos > self.count:
            drawn = f"{self.videos} draws from {_plural(self.count, self.unit)}"
        batch, other, other_batch = clips, f"{self.unit}s", self.videos
        if not self.count_repeats:
            batch, other, other_batch = _plural(self.videos, self.unit), "clips", self.clips
        if_other = self.base_lr * other_batch / 256
        return (
            f"{_plural(self.steps, 'step')} of {drawn} = {clips}, "
            f"learning rate {self.lr:.3g} = {self.base_lr:.3g} x {batch} / 256 "
            f"(by {other} it would be {if_other:.3g}), warm-up {_plural(self.warmup, 'step')}"
        )


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
