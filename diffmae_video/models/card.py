"""Model cards in the Hugging Face hub's format, from the files in a run's folder alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

from diffmae_video.errors import InputError
from diffmae_video.files import write_text

CARD = "README.md"
BEST = "best"  # in a run's folder: the folder of the model that was best in validation
LIBRARIES = {"": "diffmae-video", "diffmae": "diffmae-video", "timm": "timm", "hf-videomae": "transformers"}
METRICS = {  # key in evaluation/metrics.json -> the hub's type, and the name in the card
    "top1": ("accuracy", "top-1"),
    "top5": ("accuracy", "top-5"),
    "mean_class_accuracy": ("accuracy", "mean over classes"),
    "map": ("mean_average_precision", "mean average precision"),
    "ece": ("expected_calibration_error", "calibration error"),
}
USE = {
    "diffmae": 'from diffmae_video import load_model\n\nmodel = load_model("FOLDER")',
    "timm": 'import timm\n\nmodel = timm.create_model("local-dir:FOLDER", pretrained=True)',
    "hf-videomae": 'from transformers import {name}\n\nmodel = {name}.from_pretrained("FOLDER")',
}


def write_card(folder: Path) -> None:
    """Writes README.md into a finished run's folder, or into its best/; an existing one is replaced.

    Raises:
        InputError: the folder has no config.json of one of our models.
        OSError: the file cannot be written.
    """
    write_text(folder / CARD, model_card(folder))


def convert_card(run: Path, output: Path, to: str) -> None:
    """Writes the card of a run beside its converted weights, if these are a folder and ``run`` is a run's."""
    if output.is_dir() and (run / "config.yaml").is_file():
        write_text(output / CARD, model_card(run, to))


def model_card(folder: Path, to: str = "") -> str:
    """The model card of a run's folder, or of weights that were converted from it.

    Figures are from evaluation/metrics.json and validation.jsonl, settings from config.json, config.yaml and
    environment.json, as far as these exist; those of a run's best/ are partly in the run's own folder. Lists,
    hosts and paths are not named.

    Args:
        to: the format that the weights beside the card were converted to; empty for the run's own.

    Raises:
        InputError: the folder has no config.json of one of our models.
    """
    config = _read_json(folder / "config.json") or {}
    if "model" not in config:
        raise InputError(f"{folder}: no config.json of a model of this project, so there is no card to write")
    folder = folder.resolve()
    run = folder.parent if folder.name == BEST and (folder.parent / "config.yaml").is_file() else folder
    recipe = yaml.safe_load(_text(folder / "config.yaml")) or {}
    evaluation = _read_json(folder / "evaluation" / "metrics.json") or {}
    starts = _read_json(run / "environment.json") or []
    is_classifier, is_image = config["model"] == "Classifier", config["num_frames"] == 1
    kind = "image" if is_image else "video"
    data = ModelCardData(
        library_name=LIBRARIES[to],
        pipeline_tag=f"{kind}-classification" if is_classifier else "feature-extraction",
        tags=[kind, "vision-transformer", "diffmae", "masked-autoencoder"],
        model_name=run.name,
        eval_results=_results(evaluation, f"{kind}-classification") or None,
    )
    parts = [
        f"---\n{data.to_yaml()}\n---",
        f"# {run.name}",
        _summary(config, kind, to),
        "## Use",
        f"```python\n{USE[to or 'diffmae'].format(name=_hf_name(config))}\n```",
        *_figures(evaluation, _read_lines(run / "validation.jsonl")),
        "## The model",
        _table(["", ""], _model_rows(config)),
    ]
    training = _training_rows(recipe, starts, is_classifier)
    if training:
        parts += ["## The run", _table(["", ""], training)]
    return "\n\n".join(parts) + "\n"


def _summary(config: dict[str, Any], kind: str, to: str) -> str:
    name = config["model"]
    project = "diffmae-video, an implementation of [DiffMAE](https://arxiv.org/abs/2304.03283)"
    if name == "Classifier":
        what = f"A classifier of {kind}s with {len(config['classes'])} classes, fine-tuned with {project}."
    elif name == "Encoder":
        what = f"A ViT encoder of {kind}s, from {project}."
    else:
        part = f"The encoder of a {name}" if to else f"A {name}"
        what = f"{part}, pre-trained on {kind}s with {project}."
    mean, std = config.get("mean"), config.get("std")
    pixels = f" Pixels in [0, 1] are normalised by a mean of {mean} and a std of {std}." if mean else ""
    return what + pixels


def _hf_name(config: dict[str, Any]) -> str:
    return "VideoMAEForVideoClassification" if config["model"] == "Classifier" else "VideoMAEModel"


def _results(evaluation: dict[str, Any], task: str) -> list[EvalResult]:
    return [
        EvalResult(task, "custom", "the evaluation's list", kind, evaluation[key], metric_name=name)
        for key, (kind, name) in METRICS.items()
        if key in evaluation
    ]


def _figures(evaluation: dict[str, Any], validations: list[dict[str, Any]]) -> list[str]:
    """The sections with figures; empty if nothing was measured."""
    parts = []
    if evaluation:
        rows = [[name, _number(evaluation[key])] for key, (_, name) in METRICS.items() if key in evaluation]
        rows += [
            [key, _number(evaluation[key])]
            for key in ("videos", "unread", "views", "gflops")
            if key in evaluation
        ]
        parts += [
            "## Evaluation",
            "Figures are fractions from 0 to 1; gflops count all views of a video.",
            _table(["metric", "value"], rows),
        ]
    if validations:
        last = validations[-1]
        share = next((key for key in ("top1", "map") if key in last), None)
        if share:
            best = min(validations, key=lambda row: (-row[share], row["loss"]))
        else:
            best = min(validations, key=lambda row: row["loss"])
        columns = {f"step {best['step']}, the best": best, f"step {last['step']}, the last": last}
        if best is last:
            columns = {f"step {last['step']}, the last and best": last}
        keys = [key for key in last if key != "step"]
        rows = [[key, *(_number(row.get(key)) for row in columns.values())] for key in keys]
        parts += ["## Validation during training", _table(["metric", *columns], rows)]
    return parts


def _model_rows(config: dict[str, Any]) -> list[list[str]]:
    encoder = config if config["model"] == "Encoder" else config["encoder"] or {}
    rows = [
        ["clip (frames, height, width)", " x ".join(map(str, [config["num_frames"], *config["image_size"]]))],
        ["patch", " x ".join(map(str, config["patch"]))],
    ]
    rows += [[key, str(encoder[key])] for key in ("width", "depth", "heads", "positions") if key in encoder]
    if config["model"] == "Classifier":
        names = config["classes"]
        shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        rows += [["pooling", config["pool"]], ["classes", shown]]
    return rows


def _training_rows(
    recipe: dict[str, Any], starts: list[dict[str, Any]], is_classifier: bool
) -> list[list[str]]:
    rows = []
    length = "MAX_STEPS" if recipe.get("TRAIN", {}).get("MAX_STEPS") else "EPOCHS"
    for section, keys in {
        **({} if is_classifier else {"MASK": ("KIND", "RATIO")}),
        "DATA": ("STRIDE", "FPS", "REPEATS"),
        "TRAIN": (length, "BATCH_SIZE", "ACCUMULATION", "PRECISION", "BASE_LR", "SEED"),
    }.items():
        rows += [
            [f"{section}.{key}", str(recipe[section][key])] for key in keys if key in recipe.get(section, {})
        ]
    if starts:
        last = starts[-1]
        devices = [name for names in last["devices"].values() for name in names]
        kinds = [f"{devices.count(name)} x {name}" for name in dict.fromkeys(devices)]
        rows += [["devices", ", ".join(kinds)], ["commit", str(last["commit"])]]
        rows += [
            [name, last["packages"][name]] for name in ("torch", "deepspeed") if name in last["packages"]
        ]
    return rows


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _read_json(path: Path) -> Any:
    text = _text(path)
    return json.loads(text) if text else None


def _read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _text(path).splitlines()]
