"""Which models can be compared with each other."""

import pytest

from diffmae_video import InputError
from diffmae_video.inpainting.model_pair import load_pair
from diffmae_video.models import MAE, Encoder
from tests.tiny_models import tiny_diffmae

NARROW = {"width": 32, "depth": 1, "heads": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_diffmae().save_pretrained(folder / "diffmae")
    MAE((32, 32), 4, (2, 8, 8), NARROW, NARROW).save_pretrained(folder / "mae")
    MAE((32, 32), 8, (2, 8, 8), NARROW, NARROW).save_pretrained(folder / "long")
    Encoder((32, 32), 4, (2, 8, 8), width=8, depth=1, heads=2).save_pretrained(folder / "encoder")
    return folder


def test_a_pair_is_loaded_in_evaluation_mode(folder):
    model, mae = load_pair(folder / "diffmae", folder / "mae", "fp32")
    assert model.timesteps == 1000
    assert isinstance(mae, MAE)
    assert not model.training
    assert not mae.training
    assert load_pair(folder / "diffmae", None, "fp32")[1] is None


@pytest.mark.parametrize(
    ("checkpoint", "mae", "message"),
    [
        ("mae", None, "mae: a MAE predicts in one pass; give a DiffMAE here"),
        ("encoder", None, "encoder: holds the model Encoder, which does not inpaint"),
        ("diffmae", "diffmae", "diffmae: a DiffMAE samples; give an MAE"),
        (
            "diffmae",
            "long",
            r"long: takes clips of \[8, 32, 32\] in patches of \[2, 8, 8\], but .*diffmae takes",
        ),
    ],
)
def test_other_pairs_are_refused(folder, checkpoint, mae, message):
    with pytest.raises(InputError, match=message):
        load_pair(folder / checkpoint, mae and folder / mae, "fp32")
