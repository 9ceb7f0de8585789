"""The strict reading of an encoder's weights: every key is read, skipped by name, or refused."""

import pytest
import torch

from diffmae_video import InputError, load_encoder
from diffmae_video.models.weights.layouts import SOURCES
from tests.models.weights.reference_vit import HEADS, HIDDEN, LAYOUTS, SIZES, D, save


@pytest.mark.parametrize("source", ["auto", "named"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_missing_or_unknown_key_is_named(tmp_path, layout, source):
    weights = LAYOUTS[layout]()
    kwargs = {"num_heads": 1, **SIZES, "source": layout.split()[0] if source == "named" else "auto"}
    load_encoder(save(tmp_path / "w.pt", weights), **kwargs)
    free = ("encoder.cls_token", "encoder.positions.temporal")  # of ours: not every encoder has them
    for key in weights:
        if key in free or key.startswith("decoder."):
            continue
        less = {k: v for k, v in weights.items() if k != key}
        with pytest.raises(InputError, match=f"missing {key}") as error:
            load_encoder(save(tmp_path / "w.pt", less), **kwargs)
        assert "\n" not in str(error.value)
    last = max(key for key in weights if "norm" in key and not key.startswith("decoder."))
    strange = {key.replace("norm", "strange") if key == last else key: v for key, v in weights.items()}
    strange |= {"cls_head": torch.zeros(1), last.replace("norm", "q_norm"): torch.zeros(1)}
    with pytest.raises(
        InputError, match=r"missing .*unknown .*strange.*unknown cls_head; unknown .*q_norm"
    ) as error:
        load_encoder(save(tmp_path / "w.pt", strange), **kwargs)
    assert last in str(error.value)
    assert str(tmp_path / "w.pt") in str(error.value)


@pytest.mark.parametrize(
    "extra",
    [
        "reg_token",
        "norm_pre.weight",
        "blocks.1.attn.q_norm.weight",
        "blocks.0.attn.q_bias",
        "pos_embed_spatial",
    ],
)
def test_what_the_encoder_does_not_have_is_refused(tmp_path, extra):
    weights = LAYOUTS["timm"]() | {extra: torch.zeros(1, 1, D)}
    with pytest.raises(InputError, match=f"{extra}|missing pos_embed_temporal"):
        load_encoder(save(tmp_path / "w.pt", weights), num_heads=HEADS)


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("blocks.1.mlp.fc2.weight", (D, HIDDEN + 1), r"fc2.weight is \[24, 41\] and not \[24, 40\]"),
        ("blocks.0.attn.qkv.bias", (D,), r"qkv.bias is \[24\] and not \[72\]"),
        ("patch_embed.proj.weight", (D, 4, 8, 8), "3 channels"),
        ("patch_embed.proj.weight", (D, 192), "3 channels"),
        ("pos_embed", (1, 17, D + 1), r"pos_embed is \[1, 17, 25\] and not \[tokens, 24\]"),
        ("pos_embed", (D,), r"pos_embed is \[24\]"),
        ("pos_embed", (1, 16, D), "15 positions are no square|no_embed_class|16"),
        ("cls_token", (1, 2, D), "cls_token"),
        ("norm.weight", (0,), r"norm.weight is \[0\]"),
    ],
)
def test_shapes_that_do_not_fit_are_named(tmp_path, key, shape, message):
    weights = LAYOUTS["mae"]() | {key: torch.zeros(shape)}
    path = save(tmp_path / "w.pt", weights)
    if shape == (1, 16, D):  # timm's no_embed_class, which is fine
        assert load_encoder(path, num_heads=HEADS).grid == (1, 4, 4)
        return
    with pytest.raises(InputError, match=message):
        load_encoder(path, num_heads=HEADS)


@pytest.mark.parametrize("source", [*SOURCES, "dino"])
def test_a_source_that_the_keys_are_not_of_is_refused(tmp_path, source):
    for layout, fits in (("mae", ("mae", "timm")), ("mae_st", ("mae_st",)), ("videomae", ("videomae",))):
        path = save(tmp_path / "w.pt", LAYOUTS[layout]())
        if source in fits:
            load_encoder(path, num_heads=HEADS, source=source, **(SIZES if layout != "mae" else {}))
        else:
            with pytest.raises(
                InputError, match=f"unknown source 'dino'|keys are those of .* and not of {source}"
            ):
                load_encoder(path, num_heads=HEADS, source=source)
