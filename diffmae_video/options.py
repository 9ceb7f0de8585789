"""Every option, declared once: its default, its meaning, its unit and the values that it takes.

``config.load_config`` reads recipes by this table, and ``tools/write_options.py`` writes docs/options.md
from it. A recipe (YAML) and the command line name an option by its key, such as ``TRAIN.BATCH_SIZE``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SECTIONS = {
    "MODEL": "The model that is pre-trained.",
    "MASK": "The patches that are hidden from the encoder.",
    "DIFFUSION": "The noise schedule of `diffmae`, `ddpm` and `adm`.",
    "DATA": "The videos (or pictures) and how clips are cut from them.",
    "TRAIN": "Optimization, for pre-training and fine-tuning alike.",
    "CHECKPOINT": "When a run saves, and what it keeps.",
    "VALIDATION": "Measurements on `DATA.VAL` while a run trains.",
    "FINETUNE": "Fine-tuning a classifier: `diffmae finetune`.",
    "EVALUATION": "Testing a classifier on `DATA.VAL`: `diffmae evaluate`. Runs validate on a single view.",
    "COMPARE": "Comparing objectives at equal budgets: `diffmae compare`.",
    "DEEPSPEED": "Distributed training.",
}


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        default: its value where neither a recipe nor the command line sets it. Its type is the option's type;
            a list has the default's length unless ``any_length`` is set.
        meaning: what it does.
        unit: of the value.
        choices: the strings it takes. Empty where the code that uses the value knows the names.
        at_least, above, at_most, below: bounds of a number, or of each entry of a list.
        any_length: a list of any length, not of the default's.
        ascending: the entries of a list must not decrease.
    """

    default: Any
    meaning: str
    unit: str = ""
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    any_length: bool = False
    ascending: bool = False

    @property
    def example(self) -> Any:
        """A value, or an entry of a list, whose type is the option's; an empty list is one of names."""
        if not isinstance(self.default, list):
            return self.default
        return self.default[0] if self.default else ""

    @property
    def kind(self) -> str:
        """The type of its values, in words."""
        names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
        if not isinstance(self.default, list):
            return names[type(self.default)]
        entry = {int: "whole numbers", float: "numbers", str: "names"}[type(self.example)]
        return f"a list of {entry}" if self.any_length else f"{len(self.default)} {entry}"

    @property
    def bounds(self) -> str:
        """Its bounds in words; empty where it has none."""
        if self.at_least is not None and self.at_most is not None:
            return f"from {self.at_least:g} to {self.at_most:g}"
        words = [
            f"{self.at_least:g} or more" if self.at_least is not None else "",
            f"above {self.above:g}" if self.above is not None else "",
            f"at most {self.at_most:g}" if self.at_most is not None else "",
            f"below {self.below:g}" if self.below is not None else "",
        ]
        return " and ".join(word for word in words if word)

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value of the right type; None if nothing is."""
        entries = value if isinstance(value, list) else [value]
        if self.choices and not set(entries) <= set(self.choices):
            return f"unknown value {value!r}; there are {', '.join(self.choices)}"
        is_inside = all(
            (self.at_least is None or entry >= self.at_least)
            and (self.above is None or entry > self.above)
            and (self.at_most is None or entry <= self.at_most)
            and (self.below is None or entry < self.below)
            for entry in entries
        )
        if not is_inside:
            return f"must be {self.bounds}{f' {self.unit}' if self.unit else ''}, got {value}"
        if self.ascending and entries != sorted(entries):
            return f"must be in ascending order, got {value}"
        return None


OPTIONS = {
    "MODEL.OBJECTIVE": Option("diffmae", "The objective. `adm` and `igpt` take pictures only."),
    "MODEL.PREDICTION": Option(
        "x0", "What `diffmae`, `ddpm` and `adm` predict: the clean pixels or the noise."
    ),
    "MODEL.NORM_TARGET": Option(
        False,
        "Normalizes the target of each patch by its own mean and variance. Such a model cannot inpaint.",
    ),
    "MODEL.INIT": Option(
        "",
        "Weights that pre-training starts from: a folder, or a file of MAE, MAE-ST, VideoMAE or timm. Empty: "
        "fresh ones.",
    ),
    "MODEL.PATCH": Option(
        [2, 16, 16],
        "Frames, height and width of a patch. For `adm` and `igpt` it is the patch of inpainting masks only.",
        at_least=1,
    ),
    "MODEL.BLOCK": Option(
        "vit",
        "The blocks of encoder and decoder: ViT's, with layer norm and GELU, or with RMS norm and SwiGLU. "
        "Not for `igpt`.",
    ),
    "MODEL.QK_NORM": Option(False, "Normalises queries and keys in attention. Not for `igpt`."),
    "MODEL.ENCODER.SIZE": Option(
        "B", "The size of the encoder, which sets the three options below where they are 0. Not for `adm`."
    ),
    "MODEL.ENCODER.WIDTH": Option(0, "Channels of a token; 0: that of SIZE.", at_least=0),
    "MODEL.ENCODER.DEPTH": Option(0, "Blocks; 0: those of SIZE.", at_least=0),
    "MODEL.ENCODER.HEADS": Option(
        0, "Attention heads; 0: those of SIZE, or heads of 64 channels where WIDTH is set.", at_least=0
    ),
    "MODEL.ENCODER.CLASS_TOKEN": Option(False, "Adds a class token. Not for `igpt`."),
    "MODEL.ENCODER.POSITIONS": Option(
        "sincos", "Position embeddings; `sinusoid` are VideoMAE's. Not for `igpt`."
    ),
    "MODEL.DECODER.KIND": Option("cross_self", "The decoder of `diffmae`."),
    "MODEL.DECODER.WIDTH": Option(512, "Channels of a token in the decoder.", at_least=1),
    "MODEL.DECODER.DEPTH": Option(8, "Blocks of the decoder.", at_least=1),
    "MODEL.DECODER.HEADS": Option(0, "Attention heads of the decoder; 0: heads of 64 channels.", at_least=0),
    "MODEL.DECODER.POSITIONS": Option("sincos", "Position embeddings of the decoder."),
    "MODEL.DECODER.FRACTION": Option(
        1.0,
        "Share of the masked patches that the decoder `cross` reconstructs in training.",
        above=0,
        at_most=1,
    ),
    "MODEL.ADM.WIDTH": Option(256, "Channels of the U-Net's first level.", at_least=1),
    "MODEL.ADM.MULTIPLIERS": Option(
        [1, 1, 2, 2, 4, 4],
        "Channels of each level as a multiple of WIDTH. Each level halves the resolution.",
        at_least=1,
        any_length=True,
    ),
    "MODEL.ADM.RESNETS": Option(2, "Residual blocks of each level on the way down.", at_least=1),
    "MODEL.ADM.ATTENTION": Option(
        [32, 16, 8], "Heights of the levels that have attention.", "pixels", at_least=1, any_length=True
    ),
    "MODEL.ADM.DROPOUT": Option(0.0, "Dropout in the residual blocks.", at_least=0, below=1),
    "MODEL.IGPT.COLOURS": Option(
        512, "Clusters of the training pictures' colours, which are iGPT's vocabulary.", at_least=1
    ),
    "MODEL.IGPT.LAYER": Option(
        0,
        "The layer whose features are used, from 1; 0: the middle one. diffmae probe finds the best.",
        at_least=0,
    ),
    "MASK.KIND": Option("random", "The kind of mask."),
    "MASK.RATIO": Option(0.9, "Share of the patches that are masked.", at_least=0, at_most=1),
    "MASK.MIX": Option(
        [],
        "Further kinds of mask, such as `[box, tube, block]` for a model that is to fill holes; a share of "
        "the training steps draws one of them in place of KIND.",
        any_length=True,
    ),
    "MASK.MIX_SHARE": Option(0.4, "Share of the steps that draw a kind of MIX.", at_least=0, at_most=1),
    "MASK.MIX_RATIO": Option(
        [0.1, 0.75],
        "Smallest and largest share of the patches that masks of MIX hide.",
        above=0,
        below=1,
        ascending=True,
    ),
    "DIFFUSION.SCHEDULE": Option("linear", "The noise schedule."),
    "DIFFUSION.RHO": Option(0.8, "Exponent applied to beta; values below 1 mean more noise.", above=0),
    "DIFFUSION.TIMESTEPS": Option(1000, "Diffusion steps, T.", at_least=1),
    "DIFFUSION.PER_TOKEN": Option(
        False, "Draws a timestep for every masked patch, and not for every clip. Only for DECODER.KIND cross."
    ),
    "DIFFUSION.DRAW": Option(
        "uniform", "How training draws timesteps; `logit_normal` favours those in the middle."
    ),
    "DIFFUSION.WEIGHTING": Option(
        "x0",
        "What the error of x0 counts when `diffmae` trains, with SNR for the signal-to-noise ratio: 1 at all "
        "timesteps, 1 + SNR, or 1 + min(SNR, 5), each divided by its mean.",
    ),
    "DIFFUSION.SHARED_NOISE": Option(
        0.0,
        "Correlation of the first noise of patches in one place at different times, against flicker. Only "
        "for DECODER.KIND cross.",
        at_least=0,
        at_most=1,
    ),
    "DATA.TRAIN": Option(
        "", "Training set: a list, or a folder of videos. Where NUM_FRAMES is 1 it may hold pictures."
    ),
    "DATA.VAL": Option("", "Validation set: a list or a folder; empty: none."),
    "DATA.ROOT": Option(
        "",
        "Folder that relative paths of a list start from, or old=new to replace the beginning of absolute "
        "paths; empty: the list's own folder.",
    ),
    "DATA.NUM_FRAMES": Option(16, "Frames of a clip.", at_least=1),
    "DATA.STRIDE": Option(4, "Distance between two frames of a clip.", "frames", at_least=1),
    "DATA.FPS": Option(
        0.0,
        "The frame rate that STRIDE counts in; 0: the video's own frames.",
        "frames per second",
        at_least=0,
    ),
    "DATA.SIZE": Option(
        [224, 224], "Height and width of a clip; one number makes a square.", "pixels", at_least=1
    ),
    "DATA.REPEATS": Option(1, "Clips taken from each video that is opened (repeated sampling).", at_least=1),
    "DATA.CROP_SCALE": Option(
        [0.5, 1.0],
        "Smallest and largest share of the frame's area that a random crop covers.",
        above=0,
        at_most=1,
        ascending=True,
    ),
    "DATA.FLIP": Option(True, "Mirrors half of the training clips."),
    "DATA.COLOUR_JITTER": Option(
        [0.0, 0.0, 0.0],
        "Pre-training multiplies brightness, contrast and saturation of each clip by factors from 1 - this "
        "to 1 + this, so that little data shows more colours.",
        at_least=0,
        at_most=1,
    ),
    "DATA.CROP_ON_DEVICE": Option(
        False, "Crops, resizes and mirrors on the training device instead of in the loader's workers."
    ),
    "DATA.DECODE_ON_DEVICE": Option(
        False,
        "Pre-training decodes, crops, resizes and mirrors on the GPU, with torchcodec; SHORT_SIDE and "
        "BACKEND then do not apply. Where that is not possible, the run says so and decodes on the CPU.",
    ),
    "DATA.MEAN": Option([0.485, 0.456, 0.406], "Mean of red, green and blue, with pixels from 0 to 1."),
    "DATA.STD": Option([0.229, 0.224, 0.225], "Standard deviation of red, green and blue.", above=0),
    "DATA.BACKEND": Option("pyav", "The video reader."),
    "DATA.SHORT_SIDE": Option(
        0,
        "Frames whose shorter side is longer are scaled down to this as they are decoded; 0: never.",
        "pixels",
        at_least=0,
    ),
    "DATA.WORKERS": Option(
        -1,
        "Processes that read videos, for each training process; 0: the training process itself; -1: one less "
        "than its share of the CPUs.",
        at_least=-1,
    ),
    "DATA.TIMEOUT": Option(
        60.0,
        "How long opening a video, or reading a clip, may take before it counts as broken.",
        "seconds",
        above=0,
    ),
    "DATA.MAX_BAD_SHARE": Option(
        0.5, "A run stops when a larger share of its reads fails.", at_least=0, at_most=1
    ),
    "TRAIN.EPOCHS": Option(800, "Passes over the training set.", at_least=0),
    "TRAIN.MAX_STEPS": Option(0, "Length of the run in optimizer steps; 0: EPOCHS decides.", at_least=0),
    "TRAIN.BATCH_SIZE": Option(8, "Videos per process and forward pass.", at_least=1),
    "TRAIN.ACCUMULATION": Option(1, "Forward passes per optimizer step.", at_least=1),
    "TRAIN.PRECISION": Option(
        "auto",
        "Precision of training; `auto` is `bf16` where the device computes in it, otherwise `fp32`.",
        choices=("auto", "fp32", "bf16", "fp16"),
    ),
    "TRAIN.BASE_LR": Option(1.5e-4, "Learning rate for an effective batch of 256.", at_least=0),
    "TRAIN.COUNT_REPEATS": Option(
        False, "Whether the effective batch counts clips (videos x DATA.REPEATS) instead of videos."
    ),
    "TRAIN.WARMUP_EPOCHS": Option(40.0, "Linear warm-up of the learning rate.", "epochs", at_least=0),
    "TRAIN.WARMUP_STEPS": Option(
        0, "Warm-up in optimizer steps; 0: WARMUP_EPOCHS decides.", "steps", at_least=0
    ),
    "TRAIN.OPTIMIZER": Option(
        "adamw",
        "`muon` orthogonalises the updates of the blocks' matrices; `block_muon` does so by blocks of 64 "
        "rows, which costs less. The rest takes AdamW. Both need ZERO_STAGE 0.",
        choices=("adamw", "muon", "block_muon"),
    ),
    "TRAIN.WEIGHT_DECAY": Option(
        0.05, "Weight decay, of matrices only: not of biases, norms, positions and tokens.", at_least=0
    ),
    "TRAIN.BETAS": Option([0.9, 0.95], "AdamW's betas.", at_least=0, below=1),
    "TRAIN.CLIP_GRAD": Option(
        0.0, "Largest norm of the gradient; longer ones are scaled down. 0: no clipping.", at_least=0
    ),
    "TRAIN.EMA": Option(
        0.0,
        "Decay of a moving average of the weights, for example 0.9999; 0: none. Pictures are made with the "
        "average. The decay starts low, so that a short run averages its last tenth.",
        at_least=0,
        below=1,
    ),
    "TRAIN.ACTIVATION_CHECKPOINTING": Option(
        False, "Recomputes blocks in the backward pass: less memory, more time."
    ),
    "TRAIN.COMPILE": Option(
        "auto",
        "Compiles the training step with torch.compile; `auto`: on a GPU, in runs of 10,000 steps or more.",
        choices=("auto", "true", "false"),
    ),
    "TRAIN.SEED": Option(0, "Seed of everything random in the run.", at_least=0),
    "TRAIN.LOG_EVERY": Option(10, "Interval between writes to metrics.jsonl.", "steps", at_least=1),
    "TRAIN.MAX_BAD_STEPS": Option(
        10, "The run ends after this many steps in a row whose loss or gradient is not finite.", at_least=1
    ),
    "TRAIN.PATIENCE": Option(
        10.0, "How long a process waits for another one before the run ends.", "minutes", at_least=0
    ),
    "CHECKPOINT.EVERY_STEPS": Option(
        1000, "Interval between checkpoints; 0: not by steps.", "steps", at_least=0
    ),
    "CHECKPOINT.EVERY_MINUTES": Option(
        30.0, "Interval between checkpoints in time; 0: not by time.", "minutes", at_least=0
    ),
    "CHECKPOINT.KEEP": Option(
        3, "How many of the newest checkpoints stay. The best one stays too.", at_least=1
    ),
    "VALIDATION.EVERY_STEPS": Option(2000, "Interval between validations; 0: never.", "steps", at_least=0),
    "VALIDATION.CLIPS": Option(
        256, "Clips to validate on, at most. The processes share them and keep them in memory.", at_least=1
    ),
    "VALIDATION.PICTURES": Option(4, "How many of those clips are inpainted for TensorBoard.", at_least=0),
    "FINETUNE.INIT": Option(
        "",
        "Pre-trained weights, a folder or a file; empty: train from scratch, with MODEL.PATCH and "
        "MODEL.ENCODER.",
    ),
    "FINETUNE.POOL": Option("mean", "Pools the tokens by their mean (with a norm) or takes the class token."),
    "FINETUNE.DROPOUT": Option(0.0, "Dropout before the head.", at_least=0, below=1),
    "FINETUNE.DROP_PATH": Option(
        0.1, "Stochastic depth of the last block; it rises linearly from 0 at the first.", at_least=0, below=1
    ),
    "FINETUNE.LAYER_DECAY": Option(
        0.75,
        "Learning rate of each layer as a share of the next layer's; 1: the same for all.",
        above=0,
        at_most=1,
    ),
    "FINETUNE.FREEZE": Option(
        -1, "Freezes the embedding and this many blocks; -1: everything is trained.", at_least=-1
    ),
    "FINETUNE.RAND_AUGMENT": Option(
        [0, 9], "RandAugment: number of operations (0: none) and their magnitude.", at_least=0, at_most=30
    ),
    "FINETUNE.ERASE": Option(0.0, "Probability of erasing a rectangle.", at_least=0, below=1),
    "FINETUNE.MIXUP": Option(0.8, "Alpha of mixup; 0: none.", at_least=0),
    "FINETUNE.CUTMIX": Option(1.0, "Alpha of CutMix; 0: none.", at_least=0),
    "FINETUNE.SMOOTHING": Option(0.1, "Label smoothing.", at_least=0, below=1),
    "FINETUNE.CLASS_WEIGHTS": Option(
        "",
        "`balanced`, or a YAML file with a weight for each class; empty: all classes weigh the same.",
    ),
    "FINETUNE.HOLD_OUT": Option(
        0.0,
        "Share of each class that is held out for validation where DATA.VAL is empty.",
        at_least=0,
        below=1,
    ),
    "FINETUNE.GENERATIVE": Option(
        0.0,
        "Weight of iGPT's generative loss beside the classification loss; iGPT's own choice is 1.",
        at_least=0,
    ),
    "FINETUNE.MULTI_LABEL": Option(
        False, "A video may have several labels, written `running;jumping`; each class is a yes or a no."
    ),
    "EVALUATION.VIEWS": Option(
        [1, 1], "Views of each video: clips over time, and crops along the longer side.", at_least=1
    ),
    "EVALUATION.BATCH_SIZE": Option(16, "Clips per forward pass.", at_least=1),
    "EVALUATION.POLICY": Option(
        "fail",
        "What to do about a video that cannot be read: stop, count it as wrong, or leave it out.",
        choices=("fail", "wrong", "skip"),
    ),
    "COMPARE.SYSTEMS": Option(
        ["mae", "igpt", "adm", "ddpm", "diffmae"],
        "The systems to compare: names of recipes in the folder named like the config.",
        any_length=True,
    ),
    "COMPARE.BUDGET": Option(1e14, "Budget of each system's pre-training, in UNIT.", above=0),
    "COMPARE.TASK": Option(
        "recognition",
        "What the systems are compared by: fine-tuning and probes, or their fills of held-out videos.",
        choices=("recognition", "fills"),
    ),
    "COMPARE.UNIT": Option(
        "flops",
        "Unit of the budget; clips of videos count as pictures.",
        choices=("flops", "seconds", "pictures"),
    ),
    "COMPARE.SEEDS": Option(3, "Runs of each system.", at_least=1),
    "COMPARE.CURVES": Option(
        True, "Also fine-tunes after each quarter of pre-training, with seed 0: half of the work."
    ),
    "DEEPSPEED.ZERO_STAGE": Option(
        0,
        "What ZeRO splits over the processes: nothing, optimizer, gradients, weights.",
        at_least=0,
        at_most=3,
    ),
    "DEEPSPEED.FLOAT32_REDUCTION": Option(
        False,
        "Adds up the gradients of the processes in float32 in bf16 and fp16 too, with twice the traffic.",
    ),
    "DEEPSPEED.CONFIG": Option(
        "", "A JSON file of further DeepSpeed options; empty: that of ZERO_STAGE in configs/deepspeed."
    ),
}
