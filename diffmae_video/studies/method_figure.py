"""A figure of the method: a clip, its mask, its noised patches, and the steps that fill it."""

from pathlib import Path

import torch
from torch import Tensor

from diffmae_video.config import load_recipe
from diffmae_video.data import Entry, denormalise, normalise, uniform_clips
from diffmae_video.encoding.clips import to_frames
from diffmae_video.errors import InputError, require
from diffmae_video.models.base import load_inpainter
from diffmae_video.tokens import patchify

FRAMES = 3  # of the clip, shown below each other
NOISED = (0.3, 1.0)  # timesteps shown, as shares of T
STEPS, SHOWN = 50, (0, 24, 49)  # DDIM steps, and those that are shown


@torch.no_grad()
def draw_method(folder: Path, film: Path, output: Path, ratio: float = 0.75, seed: int = 0) -> None:
    """Draws the figure with a trained model's own mask, noise schedule and sampler.

    Args:
        folder: of a DiffMAE.
        film: the middle of it is shown.
        output: the picture to write; its ending chooses the format.
        ratio: the share of patches to hide at random.

    Raises:
        InputError: the folder holds no model that inpaints, or the film cannot be read.
    """
    require("matplotlib", "demo")
    from matplotlib.figure import Figure

    model = load_inpainter(folder)
    schedule = model.schedule
    if schedule is None or model.mask is None:
        raise InputError(
            f"{folder}: a {type(model).__name__} does not denoise masked patches; give a DiffMAE"
        )
    data = load_recipe(folder).DATA
    frames, height, width = model.clip_size
    clips = uniform_clips(Entry(str(film)), 1, frames, data.STRIDE, (height, width), data.BACKEND)
    clip = normalise(clips, model.mean, model.std)  # [1, 3, T, H, W]
    mask = model.draw_mask(clip, torch.Generator().manual_seed(seed))
    hidden = mask.to_pixels(model.patch).expand_as(clip)

    columns: list[tuple[str, Tensor]] = [("clip", clip), ("visible patches", clip.masked_fill(hidden, 0.9))]
    patches = patchify(clip, model.patch)
    noise = torch.randn(patches.shape, generator=torch.Generator().manual_seed(seed))
    for share in NOISED:
        t = max(1, round(share * schedule.timesteps))
        noised = schedule.add_noise(patches, torch.tensor([t]), noise)  # [1, N, P]
        noised = noised.gather(1, mask.masked[..., None].expand(-1, -1, noised.shape[-1]))
        columns.append((f"noised, t = {t}", model.paste(clip, mask, noised)))
    for step, (t, fill) in enumerate(model.inpaint_steps(clip, mask, sampler="ddim", steps=STEPS, seed=seed)):
        if step in SHOWN:
            columns.append((f"step {step + 1}: prediction at t = {t}", model.paste(clip, mask, fill)))

    figure = Figure(figsize=(2.3 * len(columns), 2.3 * FRAMES + 0.4))
    axes = figure.subplots(FRAMES, len(columns))
    rows = torch.linspace(0, frames - 1, FRAMES).long().tolist()
    for column, (title, shown) in zip(axes.T, columns, strict=True):
        pictures = to_frames(denormalise(shown, model.mean, model.std)[0])  # [T, H, W, 3]
        for axis, row in zip(column, rows, strict=True):
            axis.imshow(pictures[row], interpolation="nearest")
            axis.set_axis_off()
        column[0].set_title(title, fontsize=10)
    figure.tight_layout(pad=0.3)
    figure.savefig(output, dpi=110)
