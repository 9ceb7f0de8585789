"""The loss of a pre-training step: its data and noise hold what the objective reads and nothing else."""

import pytest
import torch
from torch import nn

from diffmae_video import build_model, load_config
from diffmae_video.build import build_dataset
from diffmae_video.data import normalise
from diffmae_video.data.random_clips import SampleKey
from diffmae_video.randomness import random_state
from diffmae_video.training.loop import NOT_DATA
from diffmae_video.training.pretraining_loss import PretrainingLoss
from tests.random_numbers import RandomNumbers
from tests.repository import ROOT

TINY = """
DATA.SIZE 16 DATA.NUM_FRAMES 1 DATA.STRIDE 1 DATA.REPEATS 2 MODEL.PATCH [1,4,4] MASK.RATIO 0.75
MODEL.ENCODER.WIDTH 32 MODEL.ENCODER.DEPTH 2 MODEL.ENCODER.HEADS 2
MODEL.DECODER.WIDTH 32 MODEL.DECODER.DEPTH 1 MODEL.DECODER.HEADS 2
MODEL.ADM.WIDTH 32 MODEL.ADM.MULTIPLIERS [1,2] MODEL.ADM.ATTENTION [8] MODEL.IGPT.COLOURS 8
"""
# Random numbers of noise for each clip: 12 masked patches of 48 values, or all 3 x 16 x 16 pixels.
NOISE = {"diffmae": 12 * 48, "mae": 0, "ddpm": 3 * 16 * 16, "adm": 3 * 16 * 16, "igpt": 0}


class Engine(nn.Module):
    """A stand-in for DeepSpeed's engine around a model."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)


@pytest.fixture
def config(real_clips):
    def make(objective, *options):
        fixed = ["DATA.TRAIN", real_clips["bikes"].parent, "DATA.BACKEND", "pyav", *TINY.split()]
        return load_config(
            ROOT / "configs/demo/pretrain.yaml", [*fixed, "MODEL.OBJECTIVE", objective, *options]
        )

    return make


def loss_of(cfg, model):
    data = cfg.DATA
    return PretrainingLoss(
        Engine(model),
        torch.device("cpu"),
        size=data.SIZE,
        repeats=data.REPEATS,
        seed=cfg.TRAIN.SEED,
    )


def batch_of(dataset, *positions):
    return dataset.collate([dataset[SampleKey(position, 0, 0)] for position in positions])


@pytest.mark.parametrize("objective", NOISE)
def test_a_step_draws_what_its_objective_reads(config, objective):
    cfg = config(objective)
    model = build_model(cfg).train()
    batch = batch_of(build_dataset(cfg, model), 0, 1)
    assert (batch.mask is not None) == (objective in ("diffmae", "mae"))
    assert (batch.t is not None) == (objective in ("diffmae", "ddpm", "adm"))
    with RandomNumbers() as drawn:
        loss = loss_of(cfg, model)(batch)
    assert torch.isfinite(loss)
    assert drawn.count == 4 * NOISE[objective]  # two videos with two clips each


@pytest.mark.parametrize("objective", ["diffmae", "ddpm"])
def test_noise_depends_on_the_place_of_a_video_in_the_stream_alone(config, objective):
    cfg = config(objective)
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    dataset, loss = build_dataset(cfg, model), loss_of(cfg, model)
    together = loss(batch_of(dataset, 4, 7))
    apart = torch.stack([loss(batch_of(dataset, position)) for position in (4, 7)]).mean()
    torch.testing.assert_close(together, apart)
    assert torch.equal(loss(batch_of(dataset, 4, 7)), together)


def test_a_step_is_that_of_normalised_clips_and_noise_drawn_apart(config):
    """What a step computed when clips were normalised as a whole and each video's noise was a tensor."""
    cfg = config("diffmae")
    model = build_model(cfg).train()
    batch = batch_of(build_dataset(cfg, model), 3, 8)
    clips = normalise(batch.clips, model.mean, model.std)
    noise = []
    for key in batch.samples:
        generator = random_state(cfg.TRAIN.SEED, key.position, NOT_DATA)
        generator = torch.Generator().manual_seed(generator.initial_seed())
        noise.append(torch.randn((2, 12, 48), generator=generator))
    former = model(clips, mask=batch.mask, t=batch.t, noise=torch.cat(noise)).loss
    torch.testing.assert_close(loss_of(cfg, model)(batch), former, rtol=1e-6, atol=0)
