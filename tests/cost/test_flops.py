"""What is counted, against formulas, against the other way to write it, and against known tables."""

import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Attention, Block
from torch import nn

from diffmae_video import InputError, Mask, build_model, load_config
from diffmae_video.build import meta_model
from diffmae_video.cost.flops import Cost, count_macs, macs_by_module, training_cost
from diffmae_video.models.layers import CrossAttention

# Multiply-accumulates (10^9) of a clip of 16 x 224 x 224 in patches of 2 x 16 x 16: 1568 tokens, of
# which 156 are visible at 90 %.
ENCODERS = {"B": (180, 13.7), "L": (597, 48.3), "H": (1191, 100)}
DECODERS = {
    ("joint", 4): 29.8,
    ("joint", 8): 59.6,
    ("cross_self", 4): 30.5,
    ("cross_self", 8): 60.9,
    ("cross", 4): 16.4,
    ("cross", 8): 32.7,
}
# Published by PySlowFast for its MAE models, which have a class token and a head: a clip, and weights (10^6).
PYSLOWFAST = {"B": (180, 87), "L": (598, 304), "H": (1193, 632)}


@pytest.fixture
def config(tmp_path):
    """``config("MODEL.ENCODER.SIZE", "L", ...)``: the defaults (a clip as above, 90 % masked), changed."""
    (tmp_path / "empty.yaml").touch()
    return lambda *overrides: load_config(tmp_path / "empty.yaml", overrides)


def clip_and_mask():
    clip = torch.empty(1, 3, 16, 224, 224, device="meta")
    return clip, Mask.random(1, (8, 14, 14), 0.9).to("meta")


@pytest.mark.parametrize("size", ENCODERS)
def test_the_table_of_encoders(config, size):
    encoder = meta_model(config("MODEL.ENCODER.SIZE", size)).encoder
    clip, mask = clip_and_mask()
    full, masked = ENCODERS[size]
    assert count_macs(encoder, clip) / 1e9 == pytest.approx(full, rel=0.01)
    # The table's 90 % column is of the blocks alone; all in all ViT-B takes 1.3 % more than it says.
    by_module = macs_by_module(encoder, clip, mask)
    assert by_module["blocks"] / 1e9 == pytest.approx(masked, rel=0.01)
    assert by_module["patch_embed"] == 156 * 1536 * encoder.width
    assert by_module[""] == by_module["blocks"] + by_module["patch_embed"]


@pytest.mark.parametrize(("kind", "depth"), DECODERS)
def test_the_table_of_decoders(config, kind, depth):
    # The table is of the blocks alone, with keys and values of ViT-L's latents (narrower ones cost less).
    cfg = config("MODEL.ENCODER.SIZE", "L", "MODEL.DECODER.KIND", kind, "MODEL.DECODER.DEPTH", depth)
    by_module = macs_by_module(meta_model(cfg), *clip_and_mask())
    assert by_module["decoder.blocks"] / 1e9 == pytest.approx(DECODERS[kind, depth], rel=0.01)
    around = by_module["decoder.noised_embed"] + by_module["decoder.head"] + by_module["decoder.timestep"]
    if kind == "joint":
        around += by_module["decoder.latent_embed"]
    assert by_module["decoder"] == by_module["decoder.blocks"] + around
    assert by_module[""] == by_module["encoder"] + by_module["decoder"]


@pytest.mark.parametrize("size", PYSLOWFAST)
def test_published_numbers_of_encoders(config, size):
    encoder = meta_model(config("MODEL.ENCODER.SIZE", size, "MODEL.ENCODER.CLASS_TOKEN", True)).encoder
    macs, millions = PYSLOWFAST[size]
    assert count_macs(encoder, clip_and_mask()[0]) / 1e9 == pytest.approx(macs, rel=0.003)
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)


class Plain(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def written_out(q, k, v):
    return (q @ k.transpose(-2, -1)).softmax(-1) @ v


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_attention_counts_as_if_written_out(device):
    # Every size differs, so that none can stand in for another.
    q, k, v = (torch.rand(2, 3, n, d, device=device) for n, d in ((5, 8), (7, 8), (7, 11)))
    fused = count_macs(Plain(F.scaled_dot_product_attention), q, k, v)
    assert fused == count_macs(Plain(written_out), q, k, v) == 2 * 3 * 5 * 7 * (8 + 11)


def test_a_block_counts_alike_fused_or_not(monkeypatch):
    block, x = Block(32, 4, qkv_bias=True), torch.rand(2, 9, 32)
    fused = count_macs(block, x)
    assert isinstance(block.attn, Attention)
    assert block.attn.fused_attn
    block.attn.fused_attn = False
    assert count_macs(block, x) == fused == 2 * (9 * 12 * 32 * 32 + 2 * 9 * 9 * 32)
    cross, context = CrossAttention(32, 48, 4), torch.rand(2, 6, 48)
    forward = Plain(lambda x, context: cross(x, cross.keys_values(context)))
    forward.cross = cross
    fused = count_macs(forward, x, context)
    monkeypatch.setattr(F, "scaled_dot_product_attention", written_out)
    assert count_macs(forward, x, context) == fused
    assert fused == 2 * (2 * 9 * 32 * 32 + 2 * 6 * 48 * 32 + 2 * 9 * 6 * 32)


@pytest.mark.parametrize(
    ("function", "shapes", "macs"),
    [
        (torch.matmul, [(4, 2, 3), (3, 5)], 4 * 2 * 3 * 5),
        (torch.bmm, [(4, 2, 3), (4, 3, 5)], 4 * 2 * 3 * 5),
        (torch.addmm, [(5,), (2, 3), (3, 5)], 2 * 3 * 5),
        (lambda a, b: torch.einsum("bik,bjk->bij", a, b), [(4, 2, 3), (4, 5, 3)], 4 * 2 * 3 * 5),
        (F.conv2d, [(1, 2, 5, 5), (4, 2, 3, 3)], 4 * 2 * 9 * 9),
        (lambda x: F.layer_norm(x, [3]).relu() + x, [(2, 3)], 0),
    ],
)
def test_products_count_and_elementwise_work_does_not(function, shapes, macs):
    assert count_macs(Plain(function), *(torch.rand(shape) for shape in shapes)) == macs


def test_a_product_without_a_handle_is_an_error():
    batch = torch.rand(2, 3, 3)
    with pytest.raises(InputError, match="aten::baddbmm"):
        count_macs(Plain(torch.baddbmm), batch, batch, batch)


SMALL = """
DATA.SIZE 32 DATA.NUM_FRAMES 4 MASK.RATIO 0.75
MODEL.ENCODER.WIDTH 64 MODEL.ENCODER.DEPTH 2 MODEL.ENCODER.CLASS_TOKEN true
MODEL.DECODER.WIDTH 32 MODEL.DECODER.DEPTH 3
"""


@pytest.mark.parametrize(
    ("overrides", "decoder"),
    [
        # 8 tokens of 1536 values, 2 of them visible, and a class token
        (["MODEL.DECODER.KIND", "cross"], 6 * (10 * 32 + 2 * 3) * 32 + 2 * 3 * 64 * 32),
        (["MODEL.DECODER.KIND", "cross_self"], 6 * (14 * 32 + 2 * (3 + 6)) * 32 + 2 * 3 * 64 * 32),
        (["MODEL.DECODER.KIND", "joint"], 9 * (12 * 32 + 2 * 9) * 32),
        (["MODEL.OBJECTIVE", "mae"], 9 * (12 * 32 + 2 * 9) * 32),
    ],
)
def test_a_training_forward_by_formula_and_of_a_real_model(config, overrides, decoder):
    cfg = config(*SMALL.split(), *overrides)
    cost = training_cost(meta_model(cfg))
    assert cost.encoder_macs == 2 * 1536 * 64 + 2 * 3 * (12 * 64 + 2 * 3) * 64
    around = 6 * 1536 * 32  # the head
    if cfg.MODEL.OBJECTIVE == "diffmae":
        around += 6 * 1536 * 32 + 2 * 32 * 32  # noised patches, the timestep
    if "mae" in overrides or "joint" in overrides:
        around += 3 * 64 * 32  # latents
    assert cost.decoder_macs == 3 * decoder + around
    model = build_model(cfg)
    assert cost.parameters == sum(p.numel() for p in model.parameters())
    clip, mask = torch.rand(2, 3, 4, 32, 32), Mask.random(2, (2, 2, 2), 0.75)
    assert count_macs(model, clip, mask) == 2 * cost.macs


def test_decoding_a_share_costs_that_share(config):
    cfg = [*SMALL.split(), "MODEL.DECODER.KIND", "cross"]
    full, half = (training_cost(meta_model(config(*cfg, "MODEL.DECODER.FRACTION", f))) for f in (1.0, 0.5))
    once = 3 * 2 * 3 * 64 * 32 + 2 * 32 * 32  # keys and values, the timestep
    assert half.decoder_macs - once == (full.decoder_macs - once) / 2
    assert half.encoder_macs == full.encoder_macs


def test_a_cost_reads_as_recipes_state_it():
    text = "111.7 M parameters, 30.1 GFLOPs (multiply-accumulates) per clip forward"
    assert str(Cost(111_650_001, 20_040_000_000, 10_050_000_000)) == text
