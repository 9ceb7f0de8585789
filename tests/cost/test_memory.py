"""Memory by formula against what autograd keeps and against the peak of a real step, as torch counts them."""

import pytest
import torch

from diffmae_video import Mask, build_model, load_config
from diffmae_video.build import meta_model
from diffmae_video.cost.memory import Footprint, activation_bytes
from diffmae_video.training.engine import checkpoint_activations
from diffmae_video.training.optimizer import build_optimizer
from tests.repository import ROOT

CLIPS = 3
SMALL = f"""
DATA.SIZE 64 DATA.NUM_FRAMES 8 DATA.REPEATS 1 TRAIN.BATCH_SIZE {CLIPS} TRAIN.PRECISION fp32
MODEL.ENCODER.WIDTH 128 MODEL.ENCODER.DEPTH 4 MODEL.DECODER.WIDTH 64 MODEL.DECODER.DEPTH 3
"""
MODELS = {
    "cross_self": ["MODEL.DECODER.KIND", "cross_self"],
    "cross": ["MODEL.DECODER.KIND", "cross"],
    "joint": ["MODEL.DECODER.KIND", "joint"],
    "mae": ["MODEL.OBJECTIVE", "mae", "MODEL.ENCODER.CLASS_TOKEN", "true"],
    "a share": ["MODEL.DECODER.KIND", "cross", "MODEL.DECODER.FRACTION", "0.5"],
}


def config(*overrides):
    return load_config(ROOT / "configs/demo/pretrain.yaml", [*SMALL.split(), *overrides])


def training_model(cfg, checkpointing):
    model = build_model(cfg).train()
    if checkpointing:
        checkpoint_activations(model)
    clip = torch.randn(CLIPS, 3, cfg.DATA.NUM_FRAMES, *cfg.DATA.SIZE)
    return model, clip, model.draw_mask(clip)


def saved_bytes(cfg, checkpointing):
    """Of all storages that autograd keeps for backward, each once, but for weights and tables."""
    model, clip, mask = training_model(cfg, checkpointing)
    known = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(clip, mask)  # held, so that no storage is used twice
    assert output.loss.requires_grad
    return sum(kept.values()) / CLIPS


def footprint(cfg):
    return Footprint.of(meta_model(cfg), cfg.TRAIN.PRECISION, cfg.TRAIN.EMA > 0)


def activations(cfg):
    model = meta_model(cfg)
    return model.activations(Mask.draw(batch=1, grid=model.grid, **model.mask))


@pytest.mark.parametrize("name", MODELS)
def test_activations_are_what_autograd_keeps(name):
    cfg = config(*MODELS[name])
    kept, _ = activation_bytes(activations(cfg), 4, checkpointing=False)
    assert kept == pytest.approx(saved_bytes(cfg, checkpointing=False), rel=0.01)


@pytest.mark.parametrize("name", ["joint", "mae"])  # keys and values go into a checkpoint unseen by autograd
def test_checkpointed_activations_are_what_autograd_keeps(name):
    cfg = config(*MODELS[name])
    kept, _ = activation_bytes(activations(cfg), 4, checkpointing=True)
    assert kept == pytest.approx(saved_bytes(cfg, checkpointing=True), rel=0.02)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_the_total_is_the_peak_of_a_real_step(name, checkpointing):
    tracker = pytest.importorskip("torch.distributed._tools.mem_tracker").MemTracker()
    cfg = config(*MODELS[name], "TRAIN.ACTIVATION_CHECKPOINTING", checkpointing)
    model, clip, mask = training_model(cfg, checkpointing)
    optimizer = build_optimizer(model, 0.05, (0.9, 0.95))
    model(clip, mask).loss.backward()
    optimizer.step()
    tracker.track_external(model, optimizer)
    with tracker:
        model(clip, mask).loss.backward()
        optimizer.step()
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    memory = footprint(cfg).on_gpu(1, 0, checkpointing, CLIPS)
    assert memory.total == pytest.approx(peak, rel=0.1)


def test_bytes_of_a_parameter_are_those_of_the_zero_paper():
    """7.5e9 parameters on 64 GPUs: 120, 31.4, 16.6 and 1.9 GB (Rajbhandari et al. 2020, figure 1)."""
    footprint_of_paper = Footprint(7_500_000_000, size=2, is_averaged=False, clip=0, clip_checkpointed=0)
    totals = [footprint_of_paper.on_gpu(64, stage, False, 1).total / 1e9 for stage in range(4)]
    assert totals == pytest.approx([120, 31.4, 16.6, 1.9], rel=0.02)


def test_precision_average_and_clips_count():
    half, full = footprint(config("TRAIN.PRECISION", "bf16")), footprint(config())
    assert full.clip > 1.5 * half.clip  # all but target and prediction
    plain = full.on_gpu(1, 0, False, 2)
    assert plain.weights == plain.gradients == 4 * full.parameters
    assert plain.optimizer == 8 * full.parameters
    assert plain.activations == 2 * full.clip
    averaged = footprint(config("TRAIN.EMA", "0.999")).on_gpu(1, 0, False, 2)
    assert averaged.total - plain.total == 4 * full.parameters
