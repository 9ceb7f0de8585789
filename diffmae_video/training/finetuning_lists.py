"""The labelled lists of a fine-tuning run: those of the config, or one list of which a part is held out."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

from fvcore.common.config import CfgNode

from diffmae_video.build import training_entries
from diffmae_video.data import Entry, read_list, write_list
from diffmae_video.data.hold_out import hold_out
from diffmae_video.data.lists import count_files
from diffmae_video.decoding.storage import absolute
from diffmae_video.errors import InputError


class FinetuningLists(NamedTuple):
    """What a run trains and validates on."""

    # train, val: the entries; val is empty for a run without validation
    train: list[Entry]
    val: list[Entry]
    is_held_out: bool  # whether val was taken out of DATA.TRAIN

    def __str__(self) -> str:
        """The sizes of both lists, in one line."""
        train = f"{count_files(self.train)} to train on"
        if not self.val:
            return f"{train}, none to validate on"
        if not self.is_held_out:
            return f"{train}, {count_files(self.val)} to validate on"
        return (
            f"{train}, {count_files(self.val)} held out for validation (to choose them, give DATA.VAL; "
            "to train on all, set FINETUNE.HOLD_OUT 0)"
        )


def read_finetuning_lists(cfg: CfgNode) -> FinetuningLists:
    """Reads DATA.TRAIN and DATA.VAL; without DATA.VAL holds out FINETUNE.HOLD_OUT of DATA.TRAIN.

    Raises:
        InputError: a list cannot be read, an entry has no label, or nothing can be held out.
    """
    entries = training_entries(cfg)
    if cfg.DATA.VAL:
        val = read_list(cfg.DATA.VAL, cfg.DATA.ROOT, images=cfg.DATA.NUM_FRAMES == 1)
        return FinetuningLists(entries, val, is_held_out=False)
    if not cfg.FINETUNE.HOLD_OUT:
        return FinetuningLists(entries, [], is_held_out=False)
    # Paths become absolute, but links are not followed: their targets may have other names and endings.
    entries = [dataclasses.replace(entry, path=absolute(entry.path)) for entry in entries]
    train, val = hold_out(entries, cfg.FINETUNE.HOLD_OUT, cfg.FINETUNE.MULTI_LABEL)
    if not val:
        raise InputError(
            "FINETUNE.HOLD_OUT: no class has two videos, so none can be held out for validation; give "
            "DATA.VAL, or set FINETUNE.HOLD_OUT 0"
        )
    return FinetuningLists(train, val, is_held_out=True)


def write_held_out_lists(cfg: CfgNode, lists: FinetuningLists, output: Path, is_main: bool) -> CfgNode:
    """Writes both parts of a split list to the run's folder, and returns a config that names them.

    Every process must call this; the main one writes.

    Raises:
        InputError: DATA.TRAIN itself would be overwritten.
    """
    source = Path(cfg.DATA.TRAIN).resolve()
    cfg = cfg.clone()
    cfg.defrost()
    for key, entries in (("TRAIN", lists.train), ("VAL", lists.val)):
        path = (output / f"{key.lower()}.csv").resolve()
        if path == source:
            raise InputError(
                f"DATA.TRAIN: {path} would be overwritten by a part of itself; give another --output, or "
                "DATA.VAL"
            )
        cfg.DATA[key] = str(path)
        if is_main:
            write_list(path, entries)
    cfg.FINETUNE.HOLD_OUT = 0.0
    cfg.freeze()
    return cfg
