"""The config of a fine-tuning run: clips are those of the pre-trained model unless they are set."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from diffmae_video.config import load_config, load_recipe, recipe_keys, recipe_of
from diffmae_video.frozen_model import clip_options, clip_options_of


def load_finetuning_config(recipe: str | Path, overrides: Sequence[Any], run: Path | None = None) -> CfgNode:
    """A recipe with the options of DATA that neither it nor the command line sets taken from FINETUNE.INIT.

    These are the size, number of frames, mean and std of the checkpoint, and its stride and frame rate if
    it is a run's. The main process prints them in one line.

    Args:
        overrides: ``[KEY, VALUE, ...]`` from the command line.
        run: the folder of a run that is resumed; if it has a config.yaml, clips stay as they are there.

    Raises:
        InputError: the recipe, an option or the checkpoint is wrong.
    """
    cfg = load_config(recipe, overrides)
    if not cfg.FINETUNE.INIT:
        return cfg
    is_resumed = False
    if run is not None and recipe_of(run).is_file():
        is_resumed = True
        stated = clip_options_of(load_recipe(run))
    else:
        heads = ["MODEL.ENCODER.HEADS", cfg.MODEL.ENCODER.HEADS] if cfg.MODEL.ENCODER.HEADS else []
        stated = clip_options(cfg.FINETUNE.INIT, heads)
    is_set = recipe_keys(recipe) | {str(key) for key in overrides[::2]}
    taken = {key: value for key, value in stated.items() if key not in is_set}
    if taken and not is_resumed and os.environ.get("RANK", "0") == "0":
        listed = ", ".join(f"{key} {value}" for key, value in taken.items())
        print(f"taken from {cfg.FINETUNE.INIT}, since it is not set: {listed}", flush=True)
    return load_config(recipe, [item for pair in taken.items() for item in pair] + list(overrides))
