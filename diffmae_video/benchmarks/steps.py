"""The training steps that are timed: a bare loop's, the training engine's, and Hugging Face's VideoMAE's.

FLOPs are counted by formula, two for each multiply-accumulate, with attention. A training step counts as
three forward passes; recomputation is left out.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from diffmae_video.benchmarks.timing import synchronize
from diffmae_video.build import build_model, meta_model
from diffmae_video.cost.flops import training_cost
from diffmae_video.data import TrainingClips
from diffmae_video.data.random_clips import SampleKey
from diffmae_video.errors import InputError, require
from diffmae_video.masks import Mask
from diffmae_video.models import Output
from diffmae_video.runtime.processes import Process
from diffmae_video.training.engine import build_engine, compile_training, spread_non_finite, take_step
from diffmae_video.training.from_config import engine_options
from diffmae_video.training.optimizer import build_optimizer
from diffmae_video.training.pretraining_loss import PretrainingLoss

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Step:
    """A training step on random clips; calling it takes the step.

    Attributes:
        clips: that the step trains on.
        flops: of the step.
    """

    def __init__(self, run: Callable[[], Any], clips: int, flops: int) -> None:
        self.run, self.clips, self.flops = run, clips, flops

    def __call__(self) -> None:
        self.run()


def dtype_of(cfg: CfgNode) -> torch.dtype:
    """The dtype of TRAIN.PRECISION.

    Raises:
        InputError: a precision other than fp32 and bf16, or an objective without masks.
    """
    if cfg.TRAIN.PRECISION not in DTYPES:
        raise InputError(f"TRAIN.PRECISION {cfg.TRAIN.PRECISION}: the benchmark supports {', '.join(DTYPES)}")
    return DTYPES[cfg.TRAIN.PRECISION]


def clips_per_step(cfg: CfgNode) -> int:
    return cfg.TRAIN.BATCH_SIZE * cfg.DATA.REPEATS


def step_flops(cfg: CfgNode) -> int:
    """FLOPs of a training step."""
    return 6 * clips_per_step(cfg) * training_cost(meta_model(cfg)).macs


def bare_step(cfg: CfgNode, device: torch.device, compiled: bool = False) -> Step:
    """Forward, backward and AdamW of a config's model alone, with all weights in TRAIN.PRECISION.

    The clips are uint8 and lie on the device.

    Raises:
        InputError: see :func:`dtype_of`; or the objective reads no masks.
    """
    torch.manual_seed(cfg.TRAIN.SEED)
    model = build_model(cfg).to(device, dtype_of(cfg)).train()
    if model.mask is None:
        raise InputError(
            f"MODEL.OBJECTIVE {cfg.MODEL.OBJECTIVE}: the benchmark takes masked autoencoders only; set "
            "diffmae or mae"
        )
    shape = (clips_per_step(cfg), cfg.DATA.NUM_FRAMES, *cfg.DATA.SIZE, 3)
    clip = torch.randint(0, 256, shape, dtype=torch.uint8, device=device).movedim(-1, 1)  # as decoded
    mask = model.draw_mask(clip)
    if compiled:
        compile_training(model)

    def loss() -> Tensor:
        t = None if model.timesteps is None else _draw_timesteps(model, mask, device)
        size = model.noise_shape(clip, mask)
        noise = None if size is None else torch.randn((len(clip), *size), device=device)
        output: Output = model(clip, mask, t, noise)
        return output.loss

    return Step(training_step(model, cfg, loss), len(clip), step_flops(cfg))


def training_step(model: nn.Module, cfg: CfgNode, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """A function that takes one step of a bare loop: loss, gradients, AdamW."""
    optimizer = build_optimizer(
        model, cfg.TRAIN.WEIGHT_DECAY, tuple(cfg.TRAIN.BETAS), kind=cfg.TRAIN.OPTIMIZER
    )

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


class EngineStep(Step):
    """The step of a training run, from uint8 clips in pinned memory to the optimizer's update.

    Attributes:
        engine: DeepSpeed's.
    """

    def __init__(self, cfg: CfgNode, process: Process, compiled: bool = False) -> None:
        torch.manual_seed(cfg.TRAIN.SEED)
        model = build_model(cfg)
        optimizer = build_optimizer(
            model, cfg.TRAIN.WEIGHT_DECAY, tuple(cfg.TRAIN.BETAS), kind=cfg.TRAIN.OPTIMIZER
        )
        options = engine_options(cfg, cfg.TRAIN.PRECISION, compiled)
        self.device = process.device
        self.engine = build_engine(model, optimizer, process, options)
        self.engine.train()
        self.loss_of = PretrainingLoss(
            self.engine,
            process.device,
            size=cfg.DATA.SIZE,
            repeats=cfg.DATA.REPEATS,
            seed=cfg.TRAIN.SEED,
        )
        self.batch = random_batch(cfg, self.engine.module)
        super().__init__(self._step, clips_per_step(cfg), step_flops(cfg))

    def forward(self) -> Tensor:
        return spread_non_finite(self.loss_of(self.batch))

    def update(self) -> None:
        """The optimizer's part of the step."""
        take_step(self.engine)

    def _step(self) -> None:
        self.engine.backward(self.forward())
        self.update()

    def phases(self, repeats: int = 3) -> dict[str, float]:
        """Milliseconds of forward, backward and update, with a wait for the device after each."""
        total = {"forward_ms": 0.0, "backward_ms": 0.0, "update_ms": 0.0}
        for _ in range(repeats):
            synchronize(self.device)
            marks = [time.perf_counter()]
            loss = self.forward()
            self._mark(marks)
            self.engine.backward(loss)
            self._mark(marks)
            self.update()
            self._mark(marks)
            for name, start, end in zip(total, marks, marks[1:], strict=False):
                total[name] += 1e3 * (end - start) / repeats
        return {name: round(ms, 2) for name, ms in total.items()}

    def _mark(self, marks: list[float]) -> None:
        synchronize(self.device)
        marks.append(time.perf_counter())


def random_batch(cfg: CfgNode, model: Any) -> TrainingClips:
    """A batch of noise, as the loader would deliver it."""
    videos, clips = cfg.TRAIN.BATCH_SIZE, clips_per_step(cfg)
    pixels = torch.randint(0, 256, (clips, cfg.DATA.NUM_FRAMES, *cfg.DATA.SIZE, 3), dtype=torch.uint8)
    mask = None if model.mask is None else Mask.draw(batch=clips, grid=model.grid, **model.mask)
    t = None if model.timesteps is None else _draw_timesteps(model, mask, torch.device("cpu"))
    samples = tuple(SampleKey(i, 0, i) for i in range(videos))
    batch = TrainingClips(pixels, mask, t, samples, ())
    if not torch.cuda.is_available():
        return batch
    return batch._replace(
        clips=pixels.pin_memory(),
        mask=None if mask is None else mask.pin_memory(),
        t=None if t is None else t.pin_memory(),
    )


def _draw_timesteps(model: Any, mask: Mask | None, device: torch.device) -> Tensor:
    """Timesteps of a batch: one for each clip, or for each masked patch where the model trains so."""
    assert mask is not None
    shape = mask.masked.shape if model.token_timesteps else (mask.batch,)
    return torch.randint(1, model.timesteps + 1, shape, device=device)


def peer_step(cfg: CfgNode, device: torch.device, compiled: bool = False) -> Step:
    """The step of Hugging Face's ``VideoMAEForPreTraining`` with the config's encoder and its own decoder.

    Masks are tubes of the same ratio. Its position tables, which it would copy to the device in every step,
    are put there first.

    Raises:
        MissingExtraError: transformers is not installed.
    """
    transformers = require("transformers", "bench")
    encoder: Any = meta_model(cfg).encoder
    dtype, clips = dtype_of(cfg), clips_per_step(cfg)
    config = transformers.VideoMAEConfig(
        image_size=cfg.DATA.SIZE[0],
        num_frames=cfg.DATA.NUM_FRAMES,
        patch_size=cfg.MODEL.PATCH[1],
        tubelet_size=cfg.MODEL.PATCH[0],
        hidden_size=encoder.width,
        num_hidden_layers=encoder.depth,
        num_attention_heads=encoder.blocks[0].attn.num_heads,
        intermediate_size=encoder.blocks[0].mlp.fc1.out_features,
        attn_implementation="sdpa",
    )
    model = transformers.VideoMAEForPreTraining(config).to(device, dtype).train()
    for owner in (model, model.videomae.embeddings):
        table = getattr(owner, "position_embeddings", None)
        if isinstance(table, Tensor) and not isinstance(table, nn.Parameter):
            owner.position_embeddings = table.to(device, dtype)
    side = cfg.DATA.SIZE[0] // cfg.MODEL.PATCH[1]
    grid = (cfg.DATA.NUM_FRAMES // cfg.MODEL.PATCH[0], side, side)
    masks = Mask.tube(clips, grid, cfg.MASK.RATIO)
    hidden = masks.to_bool().flatten(1).to(device)
    pixels = torch.randn(clips, cfg.DATA.NUM_FRAMES, 3, *cfg.DATA.SIZE, device=device, dtype=dtype)
    if compiled:
        torch._logging.set_logs(dynamo=logging.ERROR)  # otherwise it reports every graph break
        model.compile(dynamic=False)
    step = training_step(model, cfg, lambda: model(pixels, bool_masked_pos=hidden).loss)
    return Step(step, clips, 6 * clips * _peer_macs(config, masks.visible.shape[1], masks.masked.shape[1]))


def _peer_macs(config: Any, visible: int, masked: int) -> int:
    """Multiply-accumulates of a forward pass of VideoMAE with so many patches."""
    values = 3 * config.tubelet_size * config.patch_size**2
    width, narrow = config.hidden_size, config.decoder_hidden_size
    macs: int = (visible + masked) * values * width  # it embeds masked patches too
    macs += _block_macs(visible, width, config.num_hidden_layers, config.intermediate_size)
    macs += visible * width * narrow + masked * narrow * values
    macs += _block_macs(
        visible + masked, narrow, config.decoder_num_hidden_layers, config.decoder_intermediate_size
    )
    return macs


def _block_macs(tokens: int, width: int, depth: int, hidden: int) -> int:
    """Multiply-accumulates of pre-norm ViT blocks: projections, attention and MLP."""
    return depth * (tokens * width * (4 * width + 2 * hidden) + 2 * tokens**2 * width)
