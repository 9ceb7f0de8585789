"""Mixtures of masks: how often, and that a step has one kind and ratio however it is split."""

from collections import Counter

import torch

from diffmae_video.data import Entry, training_loader
from diffmae_video.data.mask_mix import MaskMix
from diffmae_video.randomness import random_state
from tests.data.small_datasets import clip_dataset

MIX = MaskMix(("tube", "box"), 0.5, (0.2, 0.7))
OWN = {"kind": "random", "ratio": 0.75}


def test_a_share_of_the_steps_gets_other_masks():
    drawn = [MIX.draw(OWN, random_state(step)) for step in range(400)]
    kinds = Counter(mask["kind"] for mask in drawn)
    assert 150 < kinds["random"] < 250
    assert min(kinds["tube"], kinds["box"]) > 60
    ratios = torch.tensor([mask["ratio"] for mask in drawn if mask["kind"] != "random"])
    assert 0.2 <= float(ratios.min()) < 0.25
    assert 0.65 < float(ratios.max()) <= 0.7
    assert MaskMix(("box",), 0.0, (0.2, 0.7)).draw(OWN, random_state(0)) == OWN


def masks_of(real_clips, batch_size, worlds=1, accumulation=1, start=0, steps=4):
    """The masked tokens of each step's clips, by position in the stream."""
    entries = [Entry(str(real_clips["bikes"]), 0, 8.0), Entry(str(real_clips["carphone_pristine"]))] * 3
    loaders = [
        iter(
            training_loader(
                clip_dataset(entries, mask_mix=MIX), batch_size, 0, rank, worlds, start, accumulation
            )
        )
        for rank in range(worlds)
    ]
    masks = {}
    for batch in (next(loader) for _ in range(steps * accumulation) for loader in loaders):
        for i, key in enumerate(batch.samples):
            masks[key.position] = batch.mask.masked[2 * i : 2 * i + 2].tolist()  # two clips of each video
    return masks


def test_a_step_has_the_same_masks_on_any_number_of_processes_and_passes(real_clips):
    whole = masks_of(real_clips, 4)
    assert len(whole) == 16
    assert len({len(masks[0]) for masks in whole.values()}) > 1  # steps differ
    assert whole == masks_of(real_clips, 2, worlds=2)
    assert whole == masks_of(real_clips, 2, accumulation=2)
    resumed = masks_of(real_clips, 4, start=8, steps=2)
    assert resumed == {position: whole[position] for position in range(8, 16)}
