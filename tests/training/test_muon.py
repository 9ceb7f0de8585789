"""Muon takes the orthogonalised step on the blocks' matrices, through the engine and after a resume."""

import itertools

import pytest
import torch
from torch.optim._muon import _zeropower_via_newtonschulz as zeropower

from diffmae_video.errors import InputError
from diffmae_video.runtime.processes import start_process
from diffmae_video.training import muon
from diffmae_video.training.checkpoints import Checkpoints, Progress, load_model_weights, restore
from diffmae_video.training.engine import take_step
from diffmae_video.training.muon import MuonAdamW, is_block_matrix
from diffmae_video.training.optimizer import build_optimizer
from tests.tiny_models import tiny_diffmae
from tests.training.engines import RATE, engine_of, task, train_step


def muon_engine(precision="fp32", stage=0, ema=0.0):
    return engine_of(stage, precision, None, "TRAIN.OPTIMIZER", "muon", "TRAIN.EMA", ema)


def test_every_matrix_of_a_block_is_muons_and_nothing_else():
    model = tiny_diffmae(encoder={"class_token": True})
    optimizer = build_optimizer(model, 0.05, (0.9, 0.95), kind="muon")
    names = {id(p): name for name, p in model.named_parameters()}
    of_muon = {names[id(p)] for g in optimizer.param_groups if g["muon"] for p in g["params"]}
    assert of_muon == {
        f"{part}.{name}"
        for part in ("encoder", "decoder")
        for name, p in getattr(model, part).named_parameters()
        if name.startswith("blocks.") and name.endswith("weight") and p.ndim == 2
    }
    assert is_block_matrix("encoder.blocks.0.mlp.fc1.weight", torch.nn.Parameter(torch.zeros(2, 2)))
    assert not is_block_matrix("encoder.patch_embed.weight", torch.nn.Parameter(torch.zeros(2, 2)))
    assert not is_block_matrix("encoder.blocks.0.norm1.weight", torch.nn.Parameter(torch.zeros(2)))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_engine_takes_the_orthogonalised_step(precision):
    """The first step of a matrix is its orthogonalised gradient, with the stated size; SGD's would not be.

    In bf16 a weight's rounding hides the direction of so small a step, and its size is compared alone.
    """
    engine = muon_engine(precision)
    named = dict(engine.module.named_parameters())
    masters = {name: p.detach().float().clone() for name, p in named.items() if is_block_matrix(name, p)}
    for group in engine.optimizer.param_groups:
        group["lr"] = RATE
    loss = engine(**task(0)).loss
    engine.backward(loss)
    gradients = {name: p.grad.float().clone() for name, p in named.items() if p.grad is not None}
    take_step(engine)
    for name, p in named.items():
        if name not in masters:
            continue
        step = (p.detach().float() - masters[name] * (1 - 0.05 * RATE)).double()
        rows, columns = step.shape
        size = RATE * 0.2 * max(rows, columns) ** 0.5 * min(rows, columns) ** 0.5
        assert 0.5 * size < float(step.norm()) < 1.4 * size, name
        if precision == "fp32":
            # torch's five iterations, which leave tiny singular values small, of the gradient alone
            wanted = -zeropower(gradients[name], (3.4445, -4.775, 2.0315), 5, 1e-7).double()
            agreement = float((step * wanted).sum() / step.norm() / wanted.norm())
            assert agreement > 0.9, name  # iterations in bfloat16, of scaled gradients
            plain = float(-(step * gradients[name]).sum() / step.norm() / gradients[name].norm())
            assert agreement > plain, name


def test_it_equals_muon_and_adamw_apart():
    torch.manual_seed(0)
    widths = [6, 4, 6, 4, 4, 6, 6]  # wide, tall and square matrices, some of one shape
    one, two = (
        torch.nn.ModuleDict(
            {"blocks": torch.nn.Sequential(*(torch.nn.Linear(*pair) for pair in itertools.pairwise(widths)))}
        )
        for _ in range(2)
    )
    two.load_state_dict(one.state_dict())
    together = build_optimizer(one, 0.05, (0.9, 0.95), kind="muon")
    torchs = torch.optim.Muon(
        [p for p in two.parameters() if p.ndim == 2],
        lr=RATE,
        weight_decay=0.05,
        adjust_lr_fn="match_rms_adamw",
    )
    biases = [p for p in two.parameters() if p.ndim == 1]
    adamw = torch.optim.AdamW(biases, lr=RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    for group in together.param_groups:
        group["lr"] = RATE
    for _ in range(5):
        x = torch.randn(3, 6)
        for model, optimizers in ((one, [together]), (two, [torchs, adamw])):
            model.zero_grad()
            model["blocks"](x).pow(2).mean().backward()
            for optimizer in optimizers:
                optimizer.step()
    for key, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[key]), key


def test_block_muon_orthogonalises_blocks_of_rows(monkeypatch):
    """Rows run along a matrix's shorter side; each block takes the step of a matrix of its own."""
    monkeypatch.setattr(muon, "BLOCK_ROWS", 4)
    torch.manual_seed(0)
    model = torch.nn.ModuleDict(
        {"blocks": torch.nn.Sequential(torch.nn.Linear(10, 6), torch.nn.Linear(6, 10))}
    )
    optimizer = build_optimizer(model, 0.0, (0.9, 0.95), kind="block_muon")
    for group in optimizer.param_groups:
        group["lr"] = RATE
    weights = [layer.weight for layer in model["blocks"]]
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    before = [weight.detach().clone() for weight in weights]
    optimizer.step()
    for weight, old in zip(weights, before, strict=True):
        step, gradient = old - weight.detach(), weight.grad
        if len(gradient) > gradient.shape[1]:
            step, gradient = step.T, gradient.T
        blocks = [zeropower(block, (3.4445, -4.775, 2.0315), 5, 1e-7) for block in gradient.split(3)]
        wanted = RATE * 0.2 * 10**0.5 * torch.cat(blocks).float()
        torch.testing.assert_close(step, wanted, rtol=0, atol=2e-2 * RATE)
        whole = RATE * 0.2 * 10**0.5 * zeropower(gradient, (3.4445, -4.775, 2.0315), 5, 1e-7).float()
        assert float((step - whole).abs().max()) > 5e-2 * RATE


@pytest.mark.parametrize(
    ("rows", "size"), [(192, 64), (384, 64), (64, 64), (48, 48), (100, 50), (7, 7), (67, 1)]
)
def test_blocks_are_of_one_size(rows, size):
    assert muon.block_rows(rows) == size


def test_a_gradient_that_is_not_finite_changes_nothing():
    engine = muon_engine()
    train_step(engine, 0)
    before = {n: p.detach().clone() for n, p in engine.module.named_parameters()}
    result, _ = train_step(engine, 1, shift=float("nan"))
    assert not result.applied
    assert all(torch.equal(p, before[n]) for n, p in engine.module.named_parameters())
    result, _ = train_step(engine, 2)
    assert result.applied


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_run_takes_the_same_steps(tmp_path, precision):
    whole = muon_engine(precision, ema=0.9)
    for step in range(2):
        train_step(whole, step)
    checkpoints = Checkpoints(tmp_path, 3, start_process())
    assert checkpoints.save(whole, Progress(step=2))
    expected = [train_step(whole, step)[1] for step in range(2, 5)]

    torch.manual_seed(1)
    resumed = muon_engine(precision, ema=0.9)
    folder = checkpoints.newest()
    load_model_weights(resumed.module, folder, start_process())
    restore(resumed, folder, start_process())
    assert [train_step(resumed, step)[1] for step in range(2, 5)] == expected


def test_another_optimizer_than_the_checkpoints_is_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path, 3, start_process())
    checkpoints.save(muon_engine(), Progress(step=1))
    with pytest.raises(InputError, match=r"was written with TRAIN\.OPTIMIZER muon"):
        restore(engine_of(), checkpoints.newest(), start_process())


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_stages_that_split_matrices_are_refused(stage):
    with pytest.raises(InputError, match=f"ZERO_STAGE {stage} flattens and splits the matrices"):
        muon_engine(stage=stage)


def test_a_model_without_blocks_is_refused():
    with pytest.raises(InputError, match="no transformer blocks"):
        MuonAdamW([{"params": [torch.nn.Parameter(torch.zeros(2, 2))], "muon": False}], (0.9, 0.95))


def test_matrices_of_one_shape_are_updated_together():
    """Few operations, however many blocks there are: a small model's step is bound by their number."""
    counts = []
    for depth in (2, 6):
        model = tiny_diffmae(encoder={"depth": depth})
        optimizer = build_optimizer(model, 0.05, (0.9, 0.95), kind="muon")
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
        with torch.profiler.profile() as profile:
            optimizer.step()
        products = ("aten::baddbmm", "aten::addmm", "aten::bmm", "aten::mm")
        counts.append(sum(event.count for event in profile.key_averages() if event.key in products))
    assert counts[0] == counts[1] > 0
