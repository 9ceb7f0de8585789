"""What a run will do, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fvcore.common.config import CfgNode

from diffmae_video.errors import InputError
from diffmae_video.training.optimizer import WarmupCosine


@dataclass(frozen=True)
class Plan:
    """The steps of a run and their learning rates.

    Attributes:
        steps, warmup: optimizer steps.
        count: videos of the list.
        videos, clips: of one optimizer step, over all processes.
        base_lr: per 256 of the effective batch.
        count_repeats: whether that is of clips or of videos.
    """

    steps: int
    warmup: int
    count: int
    videos: int
    clips: int
    base_lr: float
    count_repeats: bool

    @classmethod
    def of(cls, cfg: CfgNode, count: int, world: int) -> Plan:
        """The plan of a config for a list of ``count`` videos on ``world`` processes.

        Raises:
            InputError: it has no step.
        """
        train = cfg.TRAIN
        videos = train.BATCH_SIZE * train.ACCUMULATION * world
        steps = train.MAX_STEPS or round(train.EPOCHS * count / videos)
        if steps < 1:
            raise InputError(
                "TRAIN.EPOCHS and TRAIN.MAX_STEPS: the run would have no step; raise one of them"
            )
        warmup = train.WARMUP_STEPS or round(train.WARMUP_EPOCHS * count / videos)
        clips = videos * cfg.DATA.REPEATS
        return cls(steps, min(warmup, steps - 1), count, videos, clips, train.BASE_LR, train.COUNT_REPEATS)

    @property
    def lr(self) -> float:
        """The peak learning rate: base * effective batch / 256."""
        return self.base_lr * (self.clips if self.count_repeats else self.videos) / 256

    @cached_property
    def rate(self) -> WarmupCosine:
        """The learning rate by step."""
        return WarmupCosine(self.lr, self.steps, self.warmup)

    def __str__(self) -> str:
        counted, other = ("clips", "videos") if self.count_repeats else ("videos", "clips")
        if_other = self.base_lr * getattr(self, other) / 256
        return (
            f"{self.steps} steps of {self.videos} videos = {self.clips} clips, "
            f"learning rate {self.lr:.3g} = {self.base_lr:.3g} x {getattr(self, counted)} {counted} / 256 "
            f"(by {other} it would be {if_other:.3g}), warm-up {self.warmup} steps"
        )
