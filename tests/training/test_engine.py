"""The engine against a bare PyTorch loop, at every stage and precision; steps that are not finite."""

import functools
import json
import math
import shutil

import pytest
import torch
from torch._dynamo.utils import counters

from diffmae_video import InputError, Mask, load_config
from diffmae_video.runtime.eval_mode import evaluating
from diffmae_video.training.engine import deepspeed_config, gathered, resolve_compile, resolve_precision
from diffmae_video.training.from_config import engine_options
from diffmae_video.training.optimizer import parameter_groups
from diffmae_video.training.sharded_state import EMA, MOMENTS, WEIGHT, adam_steps, gather, update_ema
from tests.repository import ROOT
from tests.tiny_models import tiny_diffmae
from tests.training.engines import RATE, config, engine_of, task, train_step

ENGINES = [(stage, precision) for precision in ("fp32", "bf16") for stage in range(4)]


def bare_loop(steps):
    """The same steps without an engine: losses, gradient norms, and the values by key and name."""
    torch.manual_seed(0)
    model = tiny_diffmae(encoder={"class_token": True}).train()
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.05), lr=RATE, betas=(0.9, 0.95), foreach=False)
    losses, norms = [], []
    average = {name: p.detach().clone() for name, p in model.named_parameters()}
    for step in range(steps):
        loss = model(**task(step)).loss
        loss.backward()
        norms.append(float(torch.cat([p.grad.flatten() for p in model.parameters()]).norm()))
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        for name, p in model.named_parameters():
            average[name] = 0.75 * average[name] + 0.25 * p.detach()
    values = {key: {n: optimizer.state[p][key] for n, p in model.named_parameters()} for key in MOMENTS}
    values[WEIGHT] = {name: p.detach() for name, p in model.named_parameters()}
    return losses, norms, {**values, EMA: average}


@pytest.mark.parametrize(("stage", "precision"), ENGINES)
def test_an_engine_takes_the_steps_of_a_bare_loop(stage, precision):
    losses, norms, values = bare_loop(3)
    engine = engine_of(stage, precision, None, "TRAIN.EMA", 0.75)
    for step in range(3):
        taken, loss = train_step(engine, step)
        update_ema(engine, 0.75)
        tight = precision == "fp32"
        assert taken.applied
        assert loss == pytest.approx(losses[step], rel=1e-5 if tight else 2e-2)
        assert taken.grad_norm == pytest.approx(norms[step], rel=1e-4 if tight else 5e-2)
    assert adam_steps(engine) == 3
    for key, whole in values.items():
        ours = dict(gather(engine, key))
        assert ours.keys() == whole.keys()
        for name, value in ours.items():
            if not name.endswith("kv.bias"):  # its gradient is rounding, see test_optim
                difference = (value - whole[name]).norm() / whole[name].norm()
                assert difference < (2e-3 if precision == "fp32" else 0.25), (key, name)


@pytest.mark.parametrize(("stage", "precision"), ENGINES)
@pytest.mark.parametrize("wrong", ["nan loss", "inf loss", "gradient"])
def test_a_step_that_is_not_finite_changes_nothing(stage, precision, wrong):
    engine = engine_of(stage, precision)
    train_step(engine, 0)
    before = {key: dict(gather(engine, key)) for key in (WEIGHT, *MOMENTS)}
    if wrong == "gradient":  # of one weight, of a loss that is finite
        hook = engine.module.decoder.head.weight.register_hook(
            lambda g: g.index_fill(0, torch.tensor([0]), torch.inf)
        )
        taken, loss = train_step(engine, 1)
        hook.remove()
        assert math.isfinite(loss)
    else:  # with a gradient that is finite
        taken, _ = train_step(engine, 1, shift=float(wrong.split()[0]))
    assert not taken.applied
    for key, values in before.items():
        for name, value in gather(engine, key):
            assert torch.equal(value, values[name]), (key, name)
    assert adam_steps(engine) == 1
    assert train_step(engine, 2)[0].applied


def test_at_stage_3_all_methods_have_whole_weights():
    clip, mask = task(9)["clip"], task(9)["mask"]
    results = []
    for stage in (0, 3):
        engine = engine_of(stage)
        train_step(engine, 0)
        with gathered(engine) as model:
            results.append((model.encode(clip), model.inpaint(clip, mask, steps=3).clip))
        assert train_step(engine, 1)[0].applied  # and the engine trains on
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("stage", [0, 3])
def test_activations_computed_again_change_nothing(stage):
    plain, again = engine_of(stage), engine_of(stage, "fp32", None, "TRAIN.ACTIVATION_CHECKPOINTING", True)
    for step in range(2):
        assert train_step(plain, step)[1] == train_step(again, step)[1]


def test_a_deepspeed_file_is_filled_and_must_agree(tmp_path):
    path = tmp_path / "ds.json"

    def merged(content):
        path.write_text(json.dumps(content))
        return deepspeed_config(
            engine_options(config("DEEPSPEED.CONFIG", path, "TRAIN.ACCUMULATION", 3), "bf16"), world=4
        )

    zero = {"stage": "auto", "offload_optimizer": {"device": "cpu"}}
    filled = merged({"zero_optimization": zero, "bf16": {"enabled": "auto"}, "train_batch_size": 12})
    assert filled["zero_optimization"] == {"stage": 0, "offload_optimizer": {"device": "cpu"}}
    assert (filled["bf16"]["enabled"], filled["gradient_accumulation_steps"]) == (True, 3)
    with pytest.raises(InputError, match=r"zero_optimization.stage is 2, and the recipe's options make it 0"):
        merged({"zero_optimization": {"stage": 2}})
    with pytest.raises(InputError, match=r'overlap_comm is "auto", but no option fills it'):
        merged({"zero_optimization": {"overlap_comm": "auto"}})
    with pytest.raises(InputError, match="remove the section optimizer"):
        merged({"optimizer": {"type": "Adam"}})
    path.write_text("{")
    with pytest.raises(InputError, match="not a readable JSON file"):
        deepspeed_config(engine_options(config("DEEPSPEED.CONFIG", path), "fp32"), world=1)


def test_what_deepspeed_is_told_by_default():
    def told(stage, *options):
        cfg = config("DEEPSPEED.ZERO_STAGE", stage, *options)
        return deepspeed_config(engine_options(cfg, "bf16"), world=2)

    for stage in (1, 2, 3):
        assert told(stage)["zero_optimization"]["reduce_bucket_size"] == 25_000_000
        assert told(stage)["zero_optimization"]["overlap_comm"]
        assert not told(stage)["timers"]["throughput"]["enabled"]  # it would wait for the device
        assert "communication_data_type" not in told(stage)
        assert told(stage, "DEEPSPEED.FLOAT32_REDUCTION", True)["communication_data_type"] == "fp32"


def test_shipped_deepspeed_files_agree_with_their_stage():
    folder = ROOT / "configs/deepspeed"
    for path in sorted(folder.glob("*.json")):
        stage = next(int(x) for x in path.stem if x.isdigit())
        cfg = config("DEEPSPEED.CONFIG", path, "DEEPSPEED.ZERO_STAGE", stage)
        filled = deepspeed_config(engine_options(cfg, "bf16"), world=2)
        assert filled["zero_optimization"]["stage"] == stage
    assert len(list(folder.glob("*.json"))) >= 5


def test_precision():
    cpu = torch.device("cpu")
    assert resolve_precision("auto", cpu) in ("fp32", "bf16")
    assert resolve_precision("fp32", cpu) == "fp32"
    with pytest.raises(InputError, match=r"fp16.*CPU"):
        resolve_precision("fp16", cpu)
    with pytest.raises(InputError, match="unknown value 'int8'; there are auto, fp32"):
        load_config(None, ["TRAIN.PRECISION", "int8"])


@pytest.mark.parametrize(
    "decoder", [{"decode_fraction": 0.5}, {"token_timesteps": True}, {"decoder": {"positions": "rope"}}]
)
def test_a_run_with_validation_compiles_its_step_once(monkeypatch, decoder):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager", fullgraph=True))
    torch.manual_seed(0)
    plain = engine_of(0, "fp32", tiny_diffmae("cross", **decoder))
    torch.manual_seed(0)
    torch._dynamo.reset()
    counters.clear()
    compiled = engine_of(0, "fp32", tiny_diffmae("cross", **decoder), "TRAIN.COMPILE", "true")
    for step in range(3):
        for engine in (plain, compiled):
            torch.manual_seed(step)
            last = train_step(engine, step)
        assert last[0].applied
        model = compiled.module
        with torch.no_grad(), evaluating(model):  # a validation, with another batch
            clip, mask = task(9)["clip"][:1], Mask.random(1, (2, 4, 4), 0.5)
            model(clip, mask)
            model.encode(clip)
            model.inpaint(clip, mask, steps=2)
    assert counters["stats"]["unique_graphs"] == 1, counters
    for name, value in plain.module.state_dict().items():
        torch.testing.assert_close(compiled.module.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def test_compiling_by_default(monkeypatch):
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    monkeypatch.setattr("diffmae_video.training.engine.has_triton", lambda: True)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert resolve_compile("auto", gpu, 10_000, 2)
    assert not resolve_compile("auto", gpu, 9_999, 2)
    assert not resolve_compile("auto", gpu, 10_000, 3)
    assert not resolve_compile("auto", cpu, 10_000, 0)
    assert resolve_compile("true", cpu, 1, 3)
    assert not resolve_compile("false", gpu, 10_000, 0)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not resolve_compile("auto", gpu, 10_000, 0)
    for value in (True, "True", "true"):
        assert load_config(None, ["TRAIN.COMPILE", value]).TRAIN.COMPILE == "true"
    assert load_config(None, ["TRAIN.COMPILE", False]).TRAIN.COMPILE == "false"
