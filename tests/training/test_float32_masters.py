"""Float32 masters: the cost of a step in operations, and what they do with gradients."""

import os
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.utils._python_dispatch import TorchDispatchMode

from diffmae_video.runtime.processes import free_port
from diffmae_video.training.engine import any_non_finite, spread_non_finite, take_step
from diffmae_video.training.float32_masters import Float32Masters
from tests.tiny_models import tiny_diffmae
from tests.training.engines import RATE, engine_of, task

MOST_OPERATIONS, MOST_READS = 400, 2  # 358 and 1 were counted


class OperationCounter(TorchDispatchMode):
    """Counts the operations that torch dispatches, by name."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.counts[function._schema.name] += 1
        return function(*args, **(kwargs or {}))


def deep_model():
    """As many parameters as ViT-B with the usual decoder, and narrow ones."""
    torch.manual_seed(0)
    return tiny_diffmae(
        encoder={"width": 32, "depth": 12, "heads": 2},
        decoder={"kind": "cross_self", "width": 32, "depth": 8, "heads": 2},
    )


@pytest.mark.parametrize("options", [[], ["TRAIN.CLIP_GRAD", 0.02]])
def test_a_step_is_few_operations_and_reads(options):
    engine = engine_of(0, "bf16", deep_model(), *options)
    for step in range(2):
        engine.backward(spread_non_finite(engine(**task(step)).loss))
        with OperationCounter() as counter:
            assert take_step(engine).applied
    assert len(engine.masters.of) > 300
    reads = counter.counts["aten::_local_scalar_dense"]
    assert counter.counts.total() <= MOST_OPERATIONS, counter.counts.most_common(10)
    assert 1 <= reads <= MOST_READS


def test_muon_reads_no_more():
    engine = engine_of(0, "bf16", deep_model(), "TRAIN.OPTIMIZER", "muon")
    engine.backward(spread_non_finite(engine(**task(0)).loss))
    with OperationCounter() as counter:
        assert take_step(engine).applied
    assert counter.counts["aten::_local_scalar_dense"] <= MOST_READS


def test_the_gradient_is_clipped_in_float32():
    steps = []
    for clip in (0, 1e-3):
        engine = engine_of(0, "bf16", None, "TRAIN.CLIP_GRAD", clip, "TRAIN.BETAS", [0.0, 0.0])
        engine.backward(engine(**task(0)).loss)
        norm = engine.masters.take_gradients(engine.clip_norm)
        gradients = torch.cat([master.grad.flatten() for master in engine.masters.of.values()])
        steps.append((norm, gradients))
    (norm, plain), (same, clipped) = steps
    assert same == norm > 0.01
    assert plain.dtype == clipped.dtype == torch.float32
    assert clipped.norm() == pytest.approx(1e-3, rel=1e-3)
    torch.testing.assert_close(clipped / clipped.norm(), plain / plain.norm())


def test_small_steps_add_up():
    """Steps too small for bf16 move the float32 masters, and in the end the weights."""
    engine = engine_of(0, "bf16")
    weight = engine.module.encoder.blocks[0].attn.qkv.weight
    before, master = weight.detach().clone(), engine.masters.of[weight].detach().clone()
    for step in range(3):
        for group in engine.optimizer.param_groups:
            group["lr"] = RATE * 1e-4
        engine.backward(engine(**task(step)).loss)
        assert take_step(engine).applied
    moved = engine.masters.of[weight] - master
    assert weight.dtype == torch.bfloat16
    assert (moved != 0).double().mean() > 0.9
    assert torch.equal(weight, engine.masters.of[weight].bfloat16())
    assert (weight == before).double().mean() > 0.9


def reduced(rank, port, reduce_in, results):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    model = torch.nn.Linear(3, 2)
    masters = Float32Masters(model, torch.optim.AdamW(model.parameters()), reduce_in)
    model.weight.grad = torch.full((2, 3), [1.0, 2.0**-9][rank], dtype=torch.bfloat16)
    norm = masters.take_gradients(0.0)
    weight, bias = masters.of.values()
    # At stages 1 and 2 each process holds the gradients of its own part, here one of them without any.
    parts = [
        {0: [torch.ones(3)], 1: [torch.tensor([1.0, bad])]} if rank else {0: []} for bad in (2.0, torch.inf)
    ]
    engines = [SimpleNamespace(optimizer=SimpleNamespace(averaged_gradients=x), device="cpu") for x in parts]
    found = [float(any_non_finite(engine)) for engine in engines]
    results[rank] = (float(norm), weight.grad.unique().tolist(), bias.grad.tolist(), found)
    dist.destroy_process_group()


@pytest.mark.parametrize("reduce_in", [torch.float32, torch.bfloat16])
def test_processes_share_the_mean_of_their_gradients_and_what_is_not_finite(reduce_in):
    with mp.Manager() as manager:
        results = manager.dict()
        mp.spawn(reduced, (free_port(), reduce_in, results), nprocs=2)
        both = dict(results)
    assert both[0] == both[1]
    norm, weight, bias, found = both[0]
    assert found == [0, 1]
    assert weight == [(1 + 2.0**-9) / 2 if reduce_in == torch.float32 else 0.5]  # bf16 drops the small one
    assert bias == [0, 0]  # it had no gradient
    assert norm == pytest.approx(weight[0] * 6**0.5)
