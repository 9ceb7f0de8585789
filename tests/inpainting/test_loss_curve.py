"""The loss by timestep against the model's own training loss."""

import pytest
import torch

from diffmae_video.data import normalise
from diffmae_video.inpainting.examples import Source
from diffmae_video.inpainting.loss_curve import loss_by_timestep
from diffmae_video.models import MAE
from tests.tiny_models import tiny_diffmae

NARROW = {"width": 32, "depth": 1, "heads": 2}


def make_source(is_picture=False):
    return Source("film", torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8), is_picture)


def tiny_mae(**kwargs):
    return MAE((32, 32), 4, (2, 8, 8), NARROW, NARROW, **kwargs).eval()


def test_the_loss_is_the_training_loss_at_its_timestep():
    torch.manual_seed(1)
    model, mae, sources = tiny_diffmae(), tiny_mae(), [make_source()]
    curve = loss_by_timestep(model, mae, sources, seed=3)
    assert (curve.timesteps[0], curve.timesteps[-1]) == (1, 1000)
    seen, masks, predictor = [], [], model.predictor

    def spied(clip, mask):
        predict = predictor(clip, mask)
        masks.append(mask)
        return lambda xt, t: seen.append((xt, t)) or predict(xt, t)

    model.predictor = spied
    assert loss_by_timestep(model, mae, sources, seed=3) == curve
    clip, (mask,) = normalise(sources[0].clip[None], model.mean, model.std), masks
    for (xt, t), loss in zip(seen, curve.losses, strict=True):
        x0 = model.masked_patches(clip, mask)
        signal = model.schedule.alphas_cumprod[t - 1].float()
        noise = (xt - signal.sqrt() * x0) / (1 - signal).sqrt()
        with torch.no_grad():
            assert loss == pytest.approx(float(model(clip, mask, t, noise).loss), rel=1e-3)
    with torch.no_grad():
        assert curve.mae == pytest.approx(float(mae(clip, mask).loss), rel=1e-5)


def test_only_models_of_the_same_normalisation_are_compared():
    assert loss_by_timestep(tiny_diffmae(), tiny_mae(mean=(0.5, 0.5, 0.5)), [make_source()]).mae is None


def test_pictures_count_only_if_there_is_no_video():
    model, film, picture = tiny_diffmae(), make_source(), make_source(is_picture=True)
    assert loss_by_timestep(model, None, [film, picture]) == loss_by_timestep(model, None, [film])
    assert loss_by_timestep(model, None, [picture]).mae is None
