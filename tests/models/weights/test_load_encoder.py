"""load_encoder against a ViT by the book, whose weights are written down the way each project does."""

import argparse
import json
import pickle
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from diffmae_video import InputError, load_encoder
from diffmae_video.models import MAE, DiffMAE, Encoder
from diffmae_video.models.weights.layouts import SOURCES
from tests.repository import ROOT
from tests.tiny_models import tiny_diffmae

D, HIDDEN, HEADS, DEPTH, PATCH, GRID = 24, 40, 3, 2, 8, 4  # a width that does not tell the heads
FIXTURES = sorted((ROOT.parent / "shared/fixtures").glob("*.pt"))


class Reference:
    """A ViT with random weights, written out: Conv3d, attention by hand, positions added."""

    def __init__(
        self, t=2, steps=2, cls=False, separable=True, biases="qkv", scale=False, norm=True, eps=1e-6
    ):
        def draw(*shape):
            return (0.3 * torch.randn(shape)).double()  # so that a tolerance of 1e-5 is far from rounding

        self.eps = eps
        self.kernel, self.bias = draw(D, 3, t, PATCH, PATCH), draw(D)
        self.cls, self.cls_position = (draw(1, 1, D), draw(1, 1, D)) if cls else (None, None)
        self.spatial, self.temporal = draw(1, GRID * GRID, D), draw(1, steps, D)
        self.table = draw(1, steps * GRID * GRID, D)
        if separable:
            self.table = torch.cat([self.spatial + self.temporal[:, i : i + 1] for i in range(steps)], dim=1)
        self.blocks = [
            {
                "ln1": (1 + draw(D), draw(D)),
                **{n: (draw(D, D), draw(D) if n in biases else torch.zeros(D).double()) for n in "qkv"},
                "proj": (draw(D, D), draw(D)),
                "scale1": draw(D) if scale else torch.ones(D).double(),
                "ln2": (1 + draw(D), draw(D)),
                "fc1": (draw(HIDDEN, D), draw(HIDDEN)),
                "fc2": (draw(D, HIDDEN), draw(D)),
                "scale2": draw(D) if scale else torch.ones(D).double(),
            }
            for _ in range(DEPTH)
        ]
        self.norm = (1 + draw(D), draw(D)) if norm else None

    def __call__(self, clip):
        """Patch tokens [B, N, D] of a clip [B, 3, T, H, W]."""
        clip = clip.double()
        x = F.conv3d(clip, self.kernel, self.bias, stride=self.kernel.shape[2:]).flatten(2).transpose(1, 2)
        x = x + self.table
        if self.cls is not None:
            x = torch.cat([(self.cls + self.cls_position).expand(len(x), -1, -1), x], dim=1)
        for b in self.blocks:
            y = F.layer_norm(x, (D,), *b["ln1"], self.eps)
            q, k, v = (F.linear(y, *b[n]).unflatten(-1, (HEADS, -1)).transpose(1, 2) for n in "qkv")
            y = ((q @ k.transpose(-1, -2) / (D / HEADS) ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
            x = x + b["scale1"] * F.linear(y, *b["proj"])
            y = F.gelu(F.linear(F.layer_norm(x, (D,), *b["ln2"], self.eps), *b["fc1"]))
            x = x + b["scale2"] * F.linear(y, *b["fc2"])
        if self.norm is not None:
            x = F.layer_norm(x, (D,), *self.norm, self.eps)
        return x if self.cls is None else x[:, 1:]


def put(weights, name, pair):
    weights[f"{name}.weight"], weights[f"{name}.bias"] = pair


def timm_like(ref, kernel, attention):
    """What mae, mae_st, VideoMAE and timm have in common; ``attention`` adds q, k and v of a block."""
    weights = {}
    put(weights, "patch_embed.proj", (kernel, ref.bias))
    for i, block in enumerate(ref.blocks):
        at = f"blocks.{i}."
        put(weights, at + "norm1", block["ln1"])
        attention(weights, at + "attn.", block)
        put(weights, at + "attn.proj", block["proj"])
        put(weights, at + "norm2", block["ln2"])
        put(weights, at + "mlp.fc1", block["fc1"])
        put(weights, at + "mlp.fc2", block["fc2"])
    if ref.norm is not None:
        put(weights, "norm", ref.norm)
    return weights


def fused(weights, at, block):
    put(weights, at + "qkv", [torch.cat([block[n][i] for n in "qkv"]) for i in (0, 1)])


def mae_weights(ref):
    """MAE's and timm's: an image's model, q, k and v in one matrix."""
    weights = timm_like(ref, ref.kernel[:, :, 0], fused)
    weights["pos_embed"] = ref.table
    if ref.cls is not None:
        weights["cls_token"] = ref.cls
        weights["pos_embed"] = torch.cat([ref.cls_position, ref.table], dim=1)
    return weights


def mae_st_weights(ref, separable=True, biases="qkv"):
    def apart(weights, at, block):
        for name in "qkv":
            weights[f"{at}{name}.weight"] = block[name][0]
            if name in biases:
                weights[f"{at}{name}.bias"] = block[name][1]

    weights = timm_like(ref, ref.kernel, apart)
    if separable:
        weights |= {"pos_embed_spatial": ref.spatial, "pos_embed_temporal": ref.temporal}
    else:
        weights["pos_embed"] = ref.table
    if ref.cls is not None:
        weights["cls_token"] = ref.cls
        if separable:
            weights["pos_embed_class"] = ref.cls_position
        else:
            weights["pos_embed"] = torch.cat([ref.cls_position, ref.table], dim=1)
    return weights


def sinusoid(count):
    """VideoMAE's table, value by value."""
    rows = [
        [
            (torch.sin if j % 2 == 0 else torch.cos)(torch.tensor(n / 10000 ** (2 * (j // 2) / D))).item()
            for j in range(D)
        ]
        for n in range(count)
    ]
    return torch.tensor(rows)[None].double()


def videomae_reference(**kwargs):
    ref = Reference(biases="qv", **kwargs)
    ref.table = sinusoid(2 * GRID * GRID)
    return ref


def videomae_weights(ref, prefix="", scale=False):
    def attention(weights, at, block):
        weights[at + "qkv.weight"] = torch.cat([block[n][0] for n in "qkv"])
        weights[at + "q_bias"], weights[at + "v_bias"] = block["q"][1], block["v"][1]
        if scale:
            outer = at.removesuffix("attn.")
            weights[outer + "gamma_1"], weights[outer + "gamma_2"] = block["scale1"], block["scale2"]

    return {prefix + key: value for key, value in timm_like(ref, ref.kernel, attention).items()}


def hf_weights(ref, prefix="", old=False):
    weights = {}
    put(weights, "embeddings.patch_embeddings.projection", (ref.kernel, ref.bias))
    for i, block in enumerate(ref.blocks):
        at = f"encoder.layer.{i}."
        put(weights, at + "layernorm_before", block["ln1"])
        for name, letter in (("query", "q"), ("key", "k"), ("value", "v")):
            weights[f"{at}attention.attention.{name}.weight"] = block[letter][0]
            if letter != "k":
                bias = f"{letter}_bias" if old else f"{name}.bias"
                weights[f"{at}attention.attention.{bias}"] = block[letter][1]
        put(weights, at + "attention.output.dense", block["proj"])
        put(weights, at + "layernorm_after", block["ln2"])
        put(weights, at + "intermediate.dense", block["fc1"])
        put(weights, at + "output.dense", block["fc2"])
    if ref.norm is not None:
        put(weights, "layernorm", ref.norm)
    return {prefix + key: value for key, value in weights.items()}


def save(path, weights, wrapper="model"):
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({wrapper: weights, "epoch": 3} if wrapper else weights, path)
    return path


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5, check_dtype=False)


@torch.no_grad()
def check(path, ref, clip=None, **kwargs):
    if clip is None:
        clip = torch.randn(2, 3, 4, GRID * PATCH, GRID * PATCH)
    encoder = load_encoder(path, num_heads=HEADS, **kwargs)
    assert not encoder.training
    close(deepcopy(encoder).double()(clip.double()), ref(clip[:, :, None] if clip.ndim == 4 else clip))
    return encoder


SIZES = {"image_size": GRID * PATCH, "num_frames": 4}


@pytest.mark.skipif(not FIXTURES, reason="no ../shared/fixtures beside the repository")
@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: file.stem)
def test_the_original_code_gives_the_same_tokens(file, tmp_path):
    fixture = torch.load(file, weights_only=True)
    arch = fixture["arch"]
    path = save(tmp_path / "weights.pt", fixture["state_dict"], wrapper=None)
    for given_path in (path, file):  # the fixture itself wraps its weights twice
        encoder = load_encoder(given_path, arch["img_size"], arch.get("num_frames"), arch["num_heads"])
        with torch.no_grad():
            close(encoder(fixture["input"]), fixture["tokens"])


@settings(max_examples=16)
@given(
    cls=st.booleans(),
    separable=st.booleans(),
    biases=st.sampled_from(["", "qv", "qkv"]),
    wrapper=st.sampled_from(["model", "module", "model_state", "state_dict", None]),
    source=st.sampled_from(["auto", "mae_st"]),
)
def test_mae_st(tmp_path_factory, cls, separable, biases, wrapper, source):
    ref = Reference(cls=cls, separable=separable, biases=biases)
    weights = mae_st_weights(ref, separable, biases)
    path = save(tmp_path_factory.mktemp("w") / "w.pth", weights, wrapper)
    encoder = check(path, ref, source=source, **SIZES)
    assert encoder.positions.kind == ("learned" if separable else "joint")
    if separable:  # the tables tell the sizes
        assert load_encoder(path, num_heads=HEADS).grid == (2, GRID, GRID)


@settings(max_examples=12)
@given(
    cls=st.booleans(),
    scale=st.booleans(),
    entry=st.booleans(),
    ending=st.sampled_from(["pth", "safetensors"]),
)
def test_mae_and_timm(tmp_path_factory, cls, scale, entry, ending):
    ref = Reference(t=1, steps=1, cls=cls, scale=scale)
    weights = mae_weights(ref)
    if scale:
        for i, block in enumerate(ref.blocks):
            weights |= {f"blocks.{i}.ls1.gamma": block["scale1"], f"blocks.{i}.ls2.gamma": block["scale2"]}
    if cls and not entry:  # timm's no_embed_class
        weights["pos_embed"], ref.cls_position = ref.table, torch.zeros(1, 1, D).double()
    path = save(tmp_path_factory.mktemp("w") / f"w.{ending}", weights)
    encoder = check(path, ref, torch.randn(2, 3, 32, 32), source="timm")
    assert (encoder.grid, encoder.patch) == ((1, GRID, GRID), (1, PATCH, PATCH))
    check(path, ref, torch.randn(1, 3, 1, 32, 32), source="mae", image_size=(32, 32), num_frames=1)


@pytest.mark.parametrize("scale", [False, True])
def test_videomae(tmp_path, scale, caplog):
    ref = videomae_reference(scale=scale)
    pretrained = videomae_weights(ref, "encoder.", scale)
    pretrained |= {"encoder_to_decoder.weight": torch.randn(8, D), "mask_token": torch.randn(1, 1, 8)}
    pretrained |= {"decoder.blocks.0.norm1.weight": torch.randn(8), "decoder.norm.bias": torch.randn(8)}
    path = save(tmp_path / "pretrained.pth", {f"module.{key}": value for key, value in pretrained.items()})
    encoder = check(path, ref, **SIZES)
    assert encoder.positions.kind == "sinusoid"
    assert caplog.messages == [
        f"{path}: skipped, not of the encoder: encoder_to_decoder, mask_token, decoder (2 tensors)"
    ]

    ref = videomae_reference(norm=False)
    tuned = videomae_weights(ref) | {"fc_norm.weight": torch.randn(D), "fc_norm.bias": torch.randn(D)}
    tuned |= {"head.weight": torch.randn(5, D), "head.bias": torch.randn(5)}
    encoder = check(save(tmp_path / "tuned.pth", tuned, "module"), ref, source="videomae", **SIZES)
    assert isinstance(encoder.norm, torch.nn.Identity)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("prefix", ["", "videomae."])
def test_hf_videomae(tmp_path, old, norm, prefix):
    ref = videomae_reference(norm=norm, eps=0.1)
    weights = hf_weights(ref, prefix, old)
    weights |= {"fc_norm.weight": torch.randn(D), "classifier.bias": torch.randn(5)}
    check(save(tmp_path / "w.safetensors", weights), ref, source="hf-videomae", eps=0.1, **SIZES)
    config = {"model_type": "videomae", "image_size": 32, "num_frames": 4, "num_attention_heads": HEADS}
    config |= {"layer_norm_eps": 0.1, "use_mean_pooling": not norm}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save(tmp_path / "model.safetensors", weights)
    clip = torch.randn(1, 3, 4, 32, 32)
    close(load_encoder(tmp_path)(clip), ref(clip))
    assert (
        load_encoder(save(tmp_path / "w.pt", weights), num_heads=HEADS, **SIZES).blocks[0].norm1.eps == 1e-12
    )


def tiny_mae():
    kwargs = {"width": 32, "depth": 2, "heads": 2}
    return MAE((32, 32), 4, (2, 8, 8), {**kwargs, "class_token": True}, kwargs).eval()


@pytest.mark.parametrize("kind", ["sincos", "sharp", "learned", "joint", "sinusoid"])
def test_folders_of_this_project(tmp_path, kind, caplog):
    clip = torch.randn(2, 3, 4, 32, 32)
    for model in (tiny_diffmae(encoder={"positions": kind, "eps": 1e-4}), tiny_mae()):
        model.save_pretrained(tmp_path / "model")
        for path in (tmp_path / "model", tmp_path / "model/model.safetensors"):
            encoder = load_encoder(path)
            torch.testing.assert_close(encoder(clip), model.encode(clip), rtol=0, atol=0)
            assert encoder.positions.kind == model.encoder.positions.kind
            assert "skipped, not of the encoder: decoder (" in caplog.messages[-1]
    encoder.save_pretrained(tmp_path / "encoder")
    torch.testing.assert_close(load_encoder(tmp_path / "encoder")(clip), encoder(clip), rtol=0, atol=0)
    assert load_encoder(tmp_path / "encoder", num_heads=4).blocks[0].attn.num_heads == 4
    with pytest.raises(InputError, match="that of diffmae and not of timm"):
        load_encoder(tmp_path / "encoder", source="timm")


@pytest.mark.parametrize("kind", ["sincos", "learned", "joint"])
@pytest.mark.parametrize("patch", [(2, 8, 8), (1, 8, 8)])
def test_bare_weights_of_this_project(tmp_path, kind, patch, caplog):
    model = tiny_diffmae(frames=2 * patch[0], patch=patch, encoder={"positions": kind, "class_token": True})
    path = save(tmp_path / "w.pt", model.state_dict(), "module")
    sizes = {"image_size": 32, "num_frames": 2 * patch[0]}
    encoder = load_encoder(path, num_heads=2, **sizes)
    clip = torch.randn(2, 3, 2 * patch[0], 32, 32)
    torch.testing.assert_close(encoder(clip), model.encode(clip), rtol=1e-6, atol=1e-6)
    assert any("taken to be sincos" in message for message in caplog.messages) == (kind == "sincos")


LAYOUTS = {
    "mae": lambda: mae_weights(Reference(t=1, steps=1, cls=True)),
    "timm": lambda: mae_weights(Reference(t=1, steps=1)),
    "mae_st": lambda: mae_st_weights(Reference(cls=True)),
    "mae_st joint": lambda: mae_st_weights(Reference(separable=False), separable=False),
    "videomae": lambda: videomae_weights(videomae_reference(), "encoder."),
    "hf_videomae": lambda: hf_weights(videomae_reference(), "videomae."),
    "diffmae": lambda: tiny_diffmae(encoder={"positions": "learned", "class_token": True}).state_dict(),
}


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


class Trap:
    """Would write a file if a pickle of it were run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def broken(tmp_path, how):
    weights, path = LAYOUTS["mae"](), tmp_path / "w.pt"
    if how == "truncated":
        path.write_bytes(save(path, weights).read_bytes()[:-500])
    elif how == "truncated safetensors":
        path = save(tmp_path / "w.safetensors", weights)
        path.write_bytes(path.read_bytes()[:-500])
    elif how == "text":
        path.write_text("this is no checkpoint")
    elif how == "empty":
        path.touch()
    elif how == "raw pickle":
        path.write_bytes(pickle.dumps({"weights": [1.0, 2.0]}))
    elif how == "trap":
        torch.save({"model": weights, "more": Trap(tmp_path / "sprung")}, path)
    elif how == "list":
        torch.save([1, 2], path)
    elif how == "options only":
        torch.save({"model": {}, "epoch": 1}, path)
    elif how == "not only tensors":
        torch.save({"model": {**weights, "step": 3}}, path)
    elif how == "another model":
        torch.save({"conv1.weight": torch.zeros(3)}, path)
    elif how == "empty folder":
        return tmp_path
    elif how == "config":
        (tmp_path / "config.json").write_text("[")
        return save(tmp_path / "model.safetensors", weights)
    return path


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", "not a whole checkpoint"),
        ("truncated safetensors", "not a whole safetensors"),
        ("text", "not a whole checkpoint"),
        ("empty", "not a whole checkpoint"),
        ("raw pickle", "not a whole checkpoint|no weights here"),
        ("trap", "only tensors and plain values are read"),
        ("list", "no weights here, nor under the keys model, module"),
        ("options only", "no weights here"),
        ("not only tensors", "not tensors: step"),
        ("another model", "its keys are conv1.weight"),
        ("absent", "no such file or folder"),
        ("empty folder", "no model.safetensors or pytorch_model.bin in this folder"),
        ("config", "not valid JSON"),
    ],
)
def test_broken_and_foreign_files_are_refused(tmp_path, how, message):
    path = broken(tmp_path, how)
    with pytest.raises(InputError, match=message) as error:
        load_encoder(path, num_heads=HEADS)
    assert str(path.parent) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "sprung").exists()


def test_options_beside_the_weights_do_no_harm(tmp_path):
    ref = Reference(t=1, steps=1, cls=True)
    torch.save({"args": argparse.Namespace(lr=1.0), "model": mae_weights(ref)}, tmp_path / "w.pth")
    check(tmp_path / "w.pth", ref, torch.randn(1, 3, 32, 32))


@pytest.mark.parametrize(("frames", "patch"), [(4, 2), (6, 2), (3, 1)])
@pytest.mark.parametrize("ours", [False, True])
def test_a_still_clip_embeds_as_the_image_does(tmp_path, frames, patch, ours):
    if ours:
        path = tmp_path
        Encoder((32, 32), 1, (1, 8, 8), D, DEPTH, HEADS, class_token=True).save_pretrained(path)
    else:
        path = save(tmp_path / "w.pt", mae_weights(Reference(t=1, steps=1, cls=True)))
    # in double precision: another batch of the same rows may be rounded in another order
    image, video = (load_encoder(path, num_heads=HEADS, num_frames=n).double() for n in (1, frames))
    assert video.patch == (patch, 8, 8)
    picture = torch.randn(2, 3, 32, 32).double()
    clip = picture[:, :, None].expand(-1, -1, frames, -1, -1)
    expected = image.embed(picture[:, :, None])
    embedded = video.embed(clip)
    torch.testing.assert_close(embedded[:, :1], expected[:, :1], rtol=0, atol=0)  # the class token
    steps = embedded[:, 1:].unflatten(1, (*video.grid[:1], -1))
    torch.testing.assert_close(steps, expected[:, None, 1:].expand_as(steps), rtol=0, atol=1e-6)
    # and back: nothing is lost
    video.float().save_pretrained(tmp_path / "video")
    again = load_encoder(tmp_path / "video", num_frames=1).double()
    torch.testing.assert_close(again(picture), image(picture), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("layout", ["mae_st", "mae_st joint", "videomae"])
def test_a_video_model_as_an_image_model_sees_a_still_clip(tmp_path, layout):
    path = save(tmp_path / "w.pt", LAYOUTS[layout]())
    video = load_encoder(path, num_heads=HEADS, image_size=32, num_frames=16 if layout == "videomae" else 4)
    image = load_encoder(path, num_heads=HEADS, image_size=32, num_frames=1)
    assert (image.patch, image.grid) == ((1, 8, 8), (1, 4, 4))
    picture = torch.randn(2, 3, 32, 32)
    still = picture[:, :, None].expand(-1, -1, 2, -1, -1)
    close(image(picture), video(still))
    torch.testing.assert_close(image.patch_embed.weight.sum(1), video.patch_embed.weight.sum(1))


@pytest.mark.parametrize("cls", [False, True])
def test_positions_are_resampled_to_other_sizes(tmp_path, cls):
    ref = Reference(cls=cls)
    path = save(tmp_path / "w.pt", mae_st_weights(ref))
    encoder = load_encoder(path, image_size=(24, 48), num_frames=8, num_heads=HEADS)
    assert encoder.grid == (4, 3, 6)
    space = resample_abs_pos_embed(ref.spatial, [3, 6], [4, 4], num_prefix_tokens=0)[0]
    first, last = ref.temporal[0]
    time = torch.stack([first, 0.75 * first + 0.25 * last, 0.25 * first + 0.75 * last, last])
    expected = (time[:, None] + space).flatten(0, 1)
    close(encoder.positions(encoder.grid)[0], expected)
    assert encoder(torch.randn(1, 3, 8, 24, 48)).shape == (1, 72, D)
    if cls:
        close(encoder.cls_token, ref.cls + ref.cls_position)


def test_one_table_is_resampled_time_step_by_time_step(tmp_path):
    ref = Reference(separable=False)
    path = save(tmp_path / "w.pt", mae_st_weights(ref, separable=False))
    encoder = load_encoder(path, image_size=48, num_frames=4, num_heads=HEADS)
    steps = ref.table.view(2, 1, 16, D)
    expected = [resample_abs_pos_embed(step, [6, 6], [4, 4], num_prefix_tokens=0)[0] for step in steps]
    close(encoder.positions(encoder.grid)[0], torch.cat(expected))


@pytest.mark.parametrize("kind", ["sincos", "sharp", "sinusoid", "joint", "learned"])
@pytest.mark.parametrize(
    "sizes", [{"num_frames": 8}, {"image_size": 48}, {"image_size": 16, "num_frames": 2}]
)
def test_another_size_gives_what_the_trained_encoder_gives_there(tmp_path, kind, sizes):
    trained = Encoder((32, 32), 4, (2, 8, 8), D, DEPTH, HEADS, positions=kind).eval()
    trained.save_pretrained(tmp_path)
    clip = torch.randn(1, 3, sizes.get("num_frames", 4), *[sizes.get("image_size", 32)] * 2)
    close(load_encoder(tmp_path, **sizes)(clip), trained(clip))


def test_a_pooling_model_of_hf_at_another_size_keeps_its_trained_positions(tmp_path):
    ref = videomae_reference()
    save(tmp_path / "model.safetensors", hf_weights(ref))
    config = {"image_size": 32, "num_frames": 4, "num_attention_heads": HEADS}
    (tmp_path / "config.json").write_text(json.dumps(config))
    encoder = load_encoder(tmp_path, num_frames=2)
    middle = ref.table.view(2, 16, D).mean(0)
    close(encoder.positions(encoder.grid)[0], middle)


def test_one_table_over_time_and_space_is_read_as_the_sizes_say(tmp_path):
    path = save(tmp_path / "w.pt", mae_st_weights(Reference(separable=False), separable=False))  # 2 x 4 x 4
    assert load_encoder(path, 32, 4, HEADS).grid == (2, 4, 4)
    assert load_encoder(path, (16, 64), 4, HEADS).positions.kind == "joint"
    assert load_encoder(path, (16, 64), 4, HEADS).grid == (2, 2, 8)
    assert load_encoder(path, 32, 8, HEADS).grid == (4, 4, 4)
    assert load_encoder(path, 64, 4, HEADS).grid == (2, 8, 8)
    for sizes in ({"num_frames": 4}, {"image_size": 32}):
        assert load_encoder(path, num_heads=HEADS, **sizes).grid == (2, 4, 4)
    with pytest.raises(InputError, match=r"can be of \(2, 4, 4\) or \(8, 2, 2\); give the image_size"):
        load_encoder(path, 16, 4, HEADS)
    with pytest.raises(InputError, match="can be of no grid of these sizes"):
        load_encoder(path, 40, 6, HEADS)
    usual = mae_st_weights(Reference(separable=False), separable=False)
    usual |= {"patch_embed.proj.weight": torch.zeros(D, 3, 2, 16, 16), "pos_embed": torch.zeros(1, 1568, D)}
    path = save(tmp_path / "w.pt", usual)
    assert load_encoder(path, 112, None, HEADS).grid == (
        8,
        7,
        7,
    )  # and not 32 steps of 7 x 7, taken as trained
    one = Reference(steps=8, separable=False)
    path = save(tmp_path / "w.pt", mae_st_weights(one, separable=False))
    assert load_encoder(path, num_heads=HEADS).grid == (8, 4, 4)  # 16 frames, square


def test_sizes_that_do_not_divide_are_named(tmp_path):
    path = save(tmp_path / "w.pt", LAYOUTS["mae_st"]())
    for kwargs, message in (
        ({"num_frames": 5}, "num_frames 5 is not a multiple of the patch's 2"),
        ({"image_size": 30}, "height 30 is not a multiple of the patch's 8"),
        ({"image_size": (32, 4)}, "width 4 is not a multiple of the patch's 8"),
        ({"num_heads": 5}, "width 24 does not divide by 5 heads"),
        ({"num_heads": None}, "a width of 24 does not tell the number of heads; give num_heads"),
    ):
        with pytest.raises(InputError, match=message):
            load_encoder(path, **{"num_heads": HEADS, **kwargs})


@pytest.mark.parametrize(("width", "heads"), [(128, 2), (1280, 16)])
def test_heads_are_64_wide_but_for_the_huge_models(tmp_path, width, heads):
    encoder = Encoder((16, 16), 1, (1, 8, 8), width, 1, 1, mlp_ratio=4 / width, positions="learned")
    path = save(tmp_path / "w.pt", encoder.state_dict())
    assert load_encoder(path).blocks[0].attn.num_heads == heads


def test_what_comes_back_trains(tmp_path):
    path = save(tmp_path / "w.pt", LAYOUTS["mae_st"]())
    encoder = load_encoder(path, num_heads=HEADS)
    encoder(torch.randn(1, 3, 4, 32, 32)).square().mean().backward()
    assert all(p.grad is not None for p in encoder.parameters() if p is not encoder.cls_token)
    assert isinstance(tiny_diffmae(), DiffMAE)
