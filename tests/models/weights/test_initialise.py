"""What a new model takes from trained weights, and the options that it asks for."""

import pytest
import torch

from diffmae_video import InputError, Mask, load_encoder
from diffmae_video.models import ADM, DDPM, MAE, Encoder
from diffmae_video.models.weights.convert import save_as
from diffmae_video.models.weights.initialise import initialise
from tests.models.weights.reference_vit import DEPTH, HEADS, LAYOUTS, save
from tests.tiny_models import tiny_diffmae

CLIP = torch.randn(1, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
MASK = Mask.random(1, (2, 4, 4), 0.5, torch.Generator().manual_seed(0))
SHAPE = {"width": 32, "depth": 2, "heads": 2}
ROPE = {"encoder": {"positions": "rope"}, "decoder": {"positions": "rope"}}


def fills(model, clip=CLIP, mask=MASK):
    return model.inpaint(clip, mask, steps=2).clip


def saved(folder, model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("changes", [{}, ROPE, {"encoder": {"positions": "learned", "class_token": True}}])
def test_an_equal_model_takes_everything(tmp_path, caplog, changes):
    trained, model = saved(tmp_path, tiny_diffmae("cross", **changes)), tiny_diffmae("cross", **changes)
    assert initialise(model, tmp_path) == f"starts from {tmp_path}: the encoder and the decoder"
    torch.testing.assert_close(fills(model), fills(trained), rtol=0, atol=1e-6)
    assert not caplog.messages  # no decoder was skipped


@pytest.mark.parametrize("changes", [{}, ROPE])
def test_a_model_of_other_clips_takes_encoder_and_decoder(tmp_path, changes):
    trained = saved(tmp_path, tiny_diffmae("cross", **changes))
    model = tiny_diffmae("cross", frames=8, size=(48, 48), **changes)
    assert initialise(model, tmp_path).endswith("the encoder and the decoder")
    for part in ("encoder", "decoder"):
        for one, other in zip(
            getattr(model, part).parameters(), getattr(trained, part).parameters(), strict=True
        ):
            assert torch.equal(one, other)


def test_a_decoder_that_differs_starts_afresh(tmp_path):
    trained = saved(tmp_path, tiny_diffmae("cross"))
    model = tiny_diffmae("cross_self", decoder={"depth": 1})
    fresh = model.decoder.head.weight.clone()
    assert initialise(model, tmp_path).endswith(
        "the encoder with a new decoder, because the one there has MODEL.DECODER.KIND cross, "
        "MODEL.DECODER.DEPTH 2"
    )
    assert torch.equal(model.decoder.head.weight, fresh)
    torch.testing.assert_close(model.encode(CLIP), trained.encode(CLIP))


def test_the_encoder_of_another_objective_is_taken(tmp_path):
    trained = saved(tmp_path, MAE((32, 32), 4, (2, 8, 8), SHAPE | {"depth": 3}, SHAPE).eval())
    model = tiny_diffmae("cross")
    assert initialise(model, tmp_path) == f"starts from {tmp_path}: the encoder with a new decoder"
    torch.testing.assert_close(model.encode(CLIP), trained.encode(CLIP))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": {"positions": "rope"}}, r"set MODEL\.ENCODER\.POSITIONS sincos$"),
        ({"encoder": {"width": 64, "depth": 2}}, r"set MODEL\.ENCODER\.WIDTH 32, MODEL\.ENCODER\.DEPTH 3$"),
        ({"encoder": {"heads": 4}}, r"set MODEL\.ENCODER\.HEADS 2$"),
        ({"encoder": {"class_token": True}}, r"set MODEL\.ENCODER\.CLASS_TOKEN False$"),
        ({"encoder": {"block": "swiglu"}}, r"set MODEL\.BLOCK vit$"),
        ({"patch": (1, 8, 8), "frames": 2}, r"set MODEL\.PATCH \[2, 8, 8\]$"),
        ({"encoder": {"mlp_ratio": 2.0}}, "its MLPs are 128 wide, and those of this model 64"),
        ({"std": (0.3, 0.3, 0.3)}, r"normalised with std .*; set DATA\.STD to that"),
    ],
)
def test_what_does_not_fit_is_named_with_the_options_that_do(tmp_path, changes, message):
    saved(tmp_path, tiny_diffmae("cross"))
    with pytest.raises(InputError, match=message):
        initialise(tiny_diffmae("cross", **changes), tmp_path)


def test_weights_of_rotary_positions_ask_for_them(tmp_path):
    saved(tmp_path, tiny_diffmae("cross", **ROPE))
    with pytest.raises(InputError, match=r"set MODEL\.ENCODER\.POSITIONS rope$"):
        initialise(tiny_diffmae("cross"), tmp_path)


@pytest.mark.parametrize(
    ("source", "positions"),
    [("mae_st", "learned"), ("mae_st joint", "joint"), ("videomae", "sinusoid"), ("hf_videomae", "sinusoid")],
)
def test_encoders_of_other_projects_are_taken(tmp_path, source, positions):
    path = save(tmp_path / "weights.pth", LAYOUTS[source]())
    encoder = {"width": 24, "depth": DEPTH, "heads": HEADS, "mlp_ratio": 40.5 / 24, "positions": positions}
    model = tiny_diffmae("cross", encoder=encoder | {"class_token": source == "mae_st"})
    assert initialise(model, path) == f"starts from {path}: the encoder with a new decoder"
    expected = load_encoder(path, (32, 32), 4, HEADS)
    torch.testing.assert_close(model.encode(CLIP), expected(CLIP), atol=1e-4, rtol=1e-4)
    assert model.encode(CLIP).std() > 0.1


def test_fixed_positions_that_a_file_stores_as_a_table_are_recognised(tmp_path):
    image = Encoder((32, 32), 1, (1, 8, 8), **SHAPE)
    save_as(image, tmp_path / "timm", "timm")
    model = tiny_diffmae("cross", frames=1, patch=(1, 8, 8), encoder={"depth": 2})
    assert "the encoder" in initialise(model, tmp_path / "timm")
    torch.testing.assert_close(model.encode(CLIP[:, :, :1]), image.eval()(CLIP[:, :, :1]))


def test_models_without_masks_start_from_their_own_kind_only(tmp_path):
    trained = saved(tmp_path / "ddpm", DDPM((32, 32), 4, (2, 8, 8), SHAPE).eval())
    model = DDPM((32, 32), 4, (2, 8, 8), SHAPE).eval()
    assert initialise(model, tmp_path / "ddpm").endswith(": all weights")
    t = torch.tensor([300])
    torch.testing.assert_close(model.network(CLIP, t), trained.network(CLIP, t))
    with pytest.raises(InputError, match=r"has other sizes than this recipe; set MODEL\.ENCODER\.DEPTH 2"):
        initialise(DDPM((32, 32), 4, (2, 8, 8), SHAPE | {"depth": 1}), tmp_path / "ddpm")
    saved(tmp_path / "diffmae", tiny_diffmae("cross"))
    for other in (model, ADM((32, 32), 1, (1, 8, 8), {"width": 64, "multipliers": [1], "resnets": 1})):
        with pytest.raises(InputError, match="starts only from a folder of the same model"):
            initialise(other, tmp_path / "diffmae")
