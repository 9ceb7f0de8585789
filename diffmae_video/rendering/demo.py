"""The demo's pictures, clips and page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffmae_video.data import denormalise
from diffmae_video.errors import require
from diffmae_video.evaluation.demo import Example
from diffmae_video.files import atomic_path, write_text
from diffmae_video.rendering.video import panels, write_video
from diffmae_video.tokens import patchify, unpatchify

PANEL_HEIGHT = 128
FPS = 6.0  # slower than life: a clip is a third of a second
ROWS = (
    ("mean of the visible pixels (PSNR)", "mean_fill_psnr"),
    ("nearest visible patch (PSNR)", "nearest_fill_psnr"),
    ("first prediction, t = T (PSNR)", "first_prediction_psnr"),
    ("sample (PSNR)", "sample_psnr"),
    ("standard deviation", "sample_std_ratio"),
    ("frame-to-frame difference", "sample_motion_ratio"),
    ("gradient energy", "sample_gradient_ratio"),
)


def masked_input(example: Example, index: int) -> Tensor:
    """A clip whose masked patches show the noise that sampling starts from: [3, T, H, W] in [0, 1]."""
    model, mask = example.model, example.mask
    clip = example.clips[index : index + 1].movedim(-1, 1).float() / 255
    patches = patchify(clip, model.patch)
    noise = torch.randn(patches.shape, generator=torch.Generator().manual_seed(index))
    pixels = denormalise(unpatchify(noise, mask.grid, model.patch), model.mean, model.std)
    return torch.where(mask.to_pixels(model.patch)[index : index + 1], pixels, clip)[0]


def example_panels(example: Example, index: int) -> tuple[list[Tensor], list[str]]:
    """Truth | masked input | x0 predictions of the longest run at several t | samples, with titles."""
    model = example.model

    def pixels(clip: Tensor) -> Tensor:
        return denormalise(clip, model.mean, model.std).clamp(0, 1)

    *fewer, most = sorted(example.results)
    longest = example.results[most]
    assert longest.steps is not None
    clips = [example.clips[index].movedim(-1, 0).float() / 255, masked_input(example, index)]
    titles = ["truth", "masked + noise"]
    for place in (0, len(longest.timesteps) // 3, 2 * len(longest.timesteps) // 3):
        clips.append(pixels(longest.steps[place, index]))
        titles.append(f"x0 at t = {longest.timesteps[place]}")
    for steps in [n for n in fewer if n > 1] + [most]:  # a sample of one step is the x0 at t = T
        clips.append(pixels(example.results[steps].clip[index]))
        titles.append(f"sample, {steps} steps")
    return clips, titles


def format_rows(metrics: dict[str, Any]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The metrics as columns and rows of a table."""
    sets = {"all held-out": metrics, **metrics["parts"]}
    return list(sets), [(label, [f"{values[key]:.2f}" for values in sets.values()]) for label, key in ROWS]


def results_table(metrics: dict[str, Any]) -> str:
    """The metrics as a plain text table."""
    columns, rows = format_rows(metrics)
    widths = [max(len(c), 8) for c in columns]
    first = max(len(label) for label, _ in rows)
    lines = ["  ".join([" " * first, *(c.rjust(w) for c, w in zip(columns, widths, strict=True))])]
    for label, values in rows:
        lines.append(
            "  ".join([label.ljust(first), *(v.rjust(w) for v, w in zip(values, widths, strict=True))])
        )
    seconds, memory = metrics["train_seconds"], metrics["peak_rss_mb"]
    lines.append(f"{metrics['clips_seen']} clips in {seconds:.0f} s, peak memory {memory} MB")
    return "\n".join(lines)


def loss_curve(path: Path, steps: list[dict[str, Any]]) -> None:
    """Plots the loss of each step and its running mean."""
    require("matplotlib", "demo")
    from matplotlib.figure import Figure

    losses = torch.tensor([row["loss"] for row in steps])
    window = max(1, len(losses) // 30)
    smooth = losses.unfold(0, window, 1).mean(1)
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(1, len(losses) + 1), losses, color="#9bb8d3", linewidth=0.8, label="each step")
    axes.plot(range(window, len(losses) + 1), smooth, color="#1f4e79", label=f"mean of {window} steps")
    axes.set(xlabel="step", ylabel="loss (normalised pixels, squared)", ylim=(0, None))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as aside:
        figure.savefig(aside, dpi=150)


def render_demo(
    output: Path, metrics: dict[str, Any], steps: list[dict[str, Any]], examples: list[Example]
) -> Path:
    """Writes metrics.json, loss.png, each example as mp4 and GIF, and index.html; returns the page."""
    jinja2 = require("jinja2", "demo")
    write_text(output / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    loss_curve(output / "loss.png", steps)
    sections = []
    for number, example in enumerate(examples):
        figures = []
        for index in range(len(example.names)):
            name = f"example-{number}-{index}"  # the user's file names stay out of links
            frames = panels(*example_panels(example, index), height=PANEL_HEIGHT)
            for ending in ("mp4", "gif"):
                write_video(output / f"{name}.{ending}", frames, FPS)
            figures.append({"mp4": f"{name}.mp4", "gif": f"{name}.gif", "caption": example.names[index]})
        sections.append({"title": f"{example.part}: {example.mask_kind}", "figures": figures})
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("diffmae_video", "rendering"), autoescape=True
    )
    columns, rows = format_rows(metrics)
    page = environment.get_template("demo.html").render(
        metrics=metrics,
        columns=columns,
        rows=rows,
        sections=sections,
        first_loss=f"{steps[0]['loss']:.2f}",
        last_loss=f"{steps[-1]['loss']:.2f}",
    )
    write_text(output / "index.html", page)
    return output / "index.html"
