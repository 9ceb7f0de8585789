"""The strict reading of an encoder's weights: every key is read, skipped by name, or refused."""

import pytest
import torch

from diffmae_video import InputError, load_encoder
from diffmae_video.models.weights.layouts import SOURCES
from tests.models.weights.reference_vit import (
    DEPTH,
    HEADS,
    HIDDEN,
    LAYOUTS,
    SIZES,
    D,
    Reference,
    check,
    mae_st_weights,
    mae_weights,
    save,
    videomae_reference,
    videomae_weights,
)


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
        (
            "patch_embed.proj.weight",
            (0,),
            "patch_embed.proj.weight is empty, as in checkpoints of DeepSpeed's ZeRO",
        ),
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


PREFIXES = [
    "model.",
    "backbone.",
    "module.",
    "_orig_mod.module.",
    "model.backbone.",
    "encoder.",
    "net.trunk.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_prefix_is_removed_and_a_line_says_so(tmp_path, layout, prefix, caplog):
    weights = LAYOUTS[layout]()
    kwargs = {"num_heads": 1, **SIZES}
    expected = load_encoder(save(tmp_path / "w.pt", weights), **kwargs)
    caplog.clear()
    path = save(tmp_path / "prefixed.pt", {prefix + key: value for key, value in weights.items()})
    encoder = load_encoder(path, **kwargs)
    assert encoder.positions.kind == expected.positions.kind
    for key, value in expected.state_dict().items():
        assert torch.equal(encoder.state_dict()[key], value)
    own = prefix == "encoder." and layout not in ("videomae", "hf_videomae", "diffmae")
    removed = [f"{path}: removed the prefix {prefix!r} of its keys"]
    assert [message for message in caplog.messages if "removed the prefix" in message] == (
        [] if own else removed
    )


def lightning(weights):
    """A classifier as Lightning stores it: a module, its head within it, and a loss beside it."""
    model = {f"model.{key}": value for key, value in weights.items()}
    return model | {"model.head.weight": torch.ones(5, D), "criterion.weight": torch.ones(5)}


def test_modules_around_the_encoder_are_skipped_by_name(tmp_path, caplog):
    ref = Reference(t=1, steps=1)
    path = save(tmp_path / "w.ckpt", lightning(mae_weights(ref)), "state_dict")
    check(path, ref, torch.randn(1, 3, 32, 32))
    assert caplog.messages[-1] == f"{path}: skipped, not part of the encoder: head, criterion"


@pytest.mark.parametrize(
    "key", ["model.q_norm.weight", "cls_token", "norm.weight", "pos_embed_class", "model.blocks.0.attn.scale"]
)
def test_what_may_be_the_encoders_own_is_not_skipped(tmp_path, key):
    weights = lightning(mae_weights(Reference(t=1, steps=1))) | {key: torch.ones(1)}
    with pytest.raises(InputError, match=f"unknown {key}$"):
        load_encoder(save(tmp_path / "w.ckpt", weights), num_heads=HEADS)


def test_a_pooled_norm_is_found_behind_a_prefix(tmp_path):
    ref = videomae_reference(norm=False)
    weights = videomae_weights(ref, "model.backbone.")
    with pytest.raises(InputError, match=r"missing model\.backbone\.norm\.weight"):
        load_encoder(save(tmp_path / "w.pt", weights), num_heads=HEADS, **SIZES)
    for prefix in ("model.backbone.", ""):
        path = save(tmp_path / "w.pt", weights | {f"{prefix}fc_norm.weight": torch.ones(D)})
        if prefix:
            check(path, ref, **SIZES)
        else:  # outside of the module: another one's
            with pytest.raises(InputError, match="missing"):
                load_encoder(path, num_heads=HEADS, **SIZES)


@pytest.mark.parametrize(("evaluated", "trained"), [("teacher", "student"), ("target_encoder", "encoder")])
def test_of_two_encoders_the_one_that_its_project_evaluates_is_read(tmp_path, evaluated, trained, caplog):
    refs = {evaluated: Reference(), trained: Reference()}
    content = {
        name: {f"module.backbone.{key}": value for key, value in mae_st_weights(ref).items()}
        for name, ref in refs.items()
    }
    torch.save({**content, "opt": {}, "epoch": 1}, tmp_path / "w.pt")
    check(tmp_path / "w.pt", refs[evaluated])
    prefix = f"{evaluated}.module.backbone."
    assert caplog.messages[0] == f"{tmp_path / 'w.pt'}: removed the prefix {prefix!r} of its keys"
    assert f"skipped, not part of the encoder: {trained} (" in caplog.messages[1]


def test_several_encoders_are_refused(tmp_path):
    weights = mae_weights(Reference(t=1, steps=1))
    both = {f"{name}.{key}": value for name in ("rgb", "flow") for key, value in weights.items()}
    with pytest.raises(InputError, match=r"several encoders, with the prefixes 'flow\.', 'rgb\.'; save one"):
        load_encoder(save(tmp_path / "w.pt", both), num_heads=HEADS)


def test_a_model_with_rotary_positions_is_not_taken_for_videomae(tmp_path):
    """V-JEPA 2 has VideoMAE's names, no stored positions, and a bias of q, k and v in one."""
    weights = {k: v for k, v in mae_st_weights(Reference()).items() if not k.startswith("pos_embed")}
    for i in range(DEPTH):
        for part in ("weight", "bias"):
            parts = [weights.pop(f"blocks.{i}.attn.{name}.{part}") for name in "qkv"]
            weights[f"blocks.{i}.attn.qkv.{part}"] = torch.cat(parts)
    with pytest.raises(InputError, match=r"unknown blocks\.0\.attn\.qkv\.bias"):
        load_encoder(save(tmp_path / "w.pt", weights), num_heads=HEADS, **SIZES)


def test_a_long_list_of_problems_is_cut_short(tmp_path):
    weights = {k: v for k, v in LAYOUTS["mae"]().items() if "attn" not in k and "norm" not in k}
    with pytest.raises(InputError, match=r"(missing [^;]*; ){12}and \d+ more$"):
        load_encoder(save(tmp_path / "w.pt", weights), num_heads=HEADS)
