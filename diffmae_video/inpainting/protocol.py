"""Scores films that any method filled as papers do, by PSNR, SSIM, VFID and the warping error."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffmae_video.data.mask_files import MaskFilm, is_mask_film, open_mask_film, read_mask_picture
from diffmae_video.decoding import VideoReader, open_video
from diffmae_video.decoding.file_types import is_image_name, is_video_name
from diffmae_video.errors import InputError, require
from diffmae_video.inpainting.film_features import FilmFeatures
from diffmae_video.inpainting.frechet import FeatureModel, distance_of_gaussians
from diffmae_video.inpainting.optical_flow import OpticalFlow, occluded, warping_error
from diffmae_video.inpainting.protocol_report import write_protocol
from diffmae_video.inpainting.published_metrics import frame_psnr, frame_ssim
from diffmae_video.inpainting.video_networks import SIDE
from diffmae_video.runtime.progress import ProgressBar

# Percent of the frame's diagonal per frame: what moves less than the first stands, than the second is slow.
SPEEDS = {"still": 0.1, "slow": 1.0, "fast": float("inf")}
FEATURE_FRAMES = 16  # of a clip whose features are taken
METRICS = ("psnr", "ssim", "psnr_hole", "warping_error")


class FilmFiles(NamedTuple):
    """A film, its mask and its fills."""

    name: str
    truth: Path
    mask: Path
    fills: dict[str, Path]  # by method


class MaskedFrames(NamedTuple):
    """A frame of everything, at one size."""

    truth: np.ndarray  # uint8 [H, W, 3]
    hole: np.ndarray  # bool [H, W]
    fills: dict[str, np.ndarray]  # uint8 [H, W, 3] by method, equal to the truth outside the hole


def evaluate_protocol(
    films: Path,
    masks: Path,
    fills: Mapping[str, Path],
    output: Path,
    size: tuple[int, int] | None,
    features: Path | None,
) -> tuple[dict[str, Any], str]:
    """Scores every method's fills of every film, in all and by how fast camera and object move.

    Scores are those of whole frames, in which all but the hole is the truth's, averaged over the frames of a
    film and then over films; ``psnr_hole`` counts the hole's pixels alone, in frames that have any. The
    warping error follows the optical flow of the truth. VFID is the Fréchet distance between features of true
    and of filled films, one vector per film: the mean over clips of 16 frames of 224 x 224 pixels.

    Args:
        films: a folder of true films, each a video or a folder of frames.
        masks: a folder with a mask for each film: a video, a picture or a folder of pictures of its name.
        fills: by method, a folder with a filled film for each film, named like it.
        output: folder of the report.
        size: (width, height) that everything is resized to; None keeps each film's own size.
        features: weights of a network for VFID, or None; see
            :class:`~diffmae_video.inpainting.frechet.FeatureModel`.

    Returns:
        The result, and its tables as Markdown. The result has ``size``, ``films`` (of each: name, frames,
        size, hidden_share, and camera_motion and object_motion in percent of the diagonal per frame) and
        ``rows``, of each group of films ("all", "camera: fast", ..., "film: NAME") and fill. The fill "truth"
        has a warping error alone.

    Raises:
        InputError: a folder or film is missing, or frames do not match in number or size.
        MissingExtraError: OpenCV is not installed.
    """
    require("cv2", "metrics")
    found = find_films(films, masks, fills)
    network = None
    if features is not None:
        if len(found) < 2:
            raise InputError(
                f"{films}: VFID compares sets of films and needs at least 2; leave out --fvd-features"
            )
        network = FeatureModel(features, FEATURE_FRAMES, (SIDE, SIDE))
    output.mkdir(parents=True, exist_ok=True)
    described, rows, vectors = [], [], []
    with ProgressBar(total=len(found), desc="films", unit=" films") as bar:
        for film in found:
            about, scores, vector = score_film(film, size, network)
            described.append(about)
            rows += [{"group": f"film: {film.name}", "films": 1, "fill": m, **s} for m, s in scores.items()]
            vectors.append(vector)
            bar.update()
    of_groups = [row for group, names in groups(described).items() for row in _mean_rows(group, names, rows)]
    if network is not None:
        for row in of_groups:
            if row["group"] == "all" and row["fill"] != "truth":
                pair = (torch.stack([vector[name] for vector in vectors]) for name in (row["fill"], "truth"))
                row["vfid"] = distance_of_gaussians(*pair)
    result = {"size": list(size) if size else None, "films": described, "rows": of_groups + rows}
    return result, write_protocol(result, output)


def find_films(films: Path, masks: Path, fills: Mapping[str, Path]) -> list[FilmFiles]:
    """The films of a folder with their masks and fills.

    Raises:
        InputError: a folder is missing or empty, or has no mask or fill of a film.
    """
    truths = _named_films(films, "--films")
    mask_files = _named_films(masks, "--masks", pictures=True)
    fill_files = {method: _named_films(folder, f"--fills {method}") for method, folder in fills.items()}
    found = []
    for name, path in truths.items():
        for option, files in {
            "--masks": mask_files,
            **{f"--fills {m}": f for m, f in fill_files.items()},
        }.items():
            if name not in files:
                raise InputError(f"{option}: there is nothing named {name}, as in {films}")
        found.append(FilmFiles(name, path, mask_files[name], {m: f[name] for m, f in fill_files.items()}))
    return found


def _named_films(folder: Path, option: str, pictures: bool = False) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{option} {folder}: no such folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        is_film = path.is_dir() or is_video_name(path) or (pictures and is_image_name(path))
        if is_film and not path.name.startswith("."):
            name = path.name if path.is_dir() else path.stem
            if name in found:
                raise InputError(
                    f"{option} {folder}: {found[name].name} and {path.name} have one name; move one"
                )
            found[name] = path
    if not found:
        raise InputError(f"{option} {folder}: holds no films; each is a video or a folder of frames")
    return found


def score_film(
    film: FilmFiles, size: tuple[int, int] | None, network: FeatureModel | None
) -> tuple[dict[str, Any], dict[str, dict[str, float | None]], dict[str, Tensor]]:
    """Scores the fills of one film.

    Returns:
        What ``films`` of the result says about it; scores by method and of the "truth"; and features by
        method and of the "truth", [D] each.
    """
    flow = OpticalFlow()
    methods = ("truth", *film.fills)
    scores: dict[str, dict[str, list[float]]] = {method: {m: [] for m in METRICS} for method in methods}
    collected = {method: FilmFeatures(network, FEATURE_FRAMES) for method in methods if network is not None}
    camera, holes, hidden = [], [], []
    before: MaskedFrames | None = None
    for now in read_masked(film, size):
        hidden.append(now.hole.mean())
        holes.append(np.argwhere(now.hole).mean(0)[::-1] if now.hole.any() else None)
        for method, fill in now.fills.items():
            scores[method]["psnr"].append(frame_psnr(fill, now.truth))
            scores[method]["ssim"].append(frame_ssim(fill, now.truth))
            if now.hole.any():
                scores[method]["psnr_hole"].append(frame_psnr(fill, now.truth, now.hole))
        if before is not None:
            forward, backward = flow(before.truth, now.truth), flow(now.truth, before.truth)
            skipped = occluded(forward, backward)
            known = ~before.hole if not before.hole.all() else before.hole
            camera.append(np.median(forward[known], axis=0))
            for method, pair in _pairs(before, now).items():
                scores[method]["warping_error"].append(warping_error(*pair, forward, skipped))
        for method, features in collected.items():
            features.add(now.truth if method == "truth" else now.fills[method])
        before = now
    assert before is not None  # a film has frames
    height, width = before.hole.shape
    to_percent = 100 / float(np.hypot(height, width))
    moved = [
        to_percent * float(np.hypot(*(after - first - shift)))
        for first, after, shift in zip(holes, holes[1:], camera, strict=False)
        if first is not None and after is not None
    ]
    about = {
        "name": film.name,
        "frames": len(hidden),
        "size": [width, height],
        "hidden_share": float(np.mean(hidden)),
        "camera_motion": to_percent * _mean([float(np.hypot(*shift)) for shift in camera], 0.0),
        "object_motion": _mean(moved, 0.0),
    }
    means = {
        method: {name: _mean(values, None) for name, values in of.items()} for method, of in scores.items()
    }
    return about, means, {method: features.mean() for method, features in collected.items()}


def _pairs(before: MaskedFrames, now: MaskedFrames) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    fills = {method: (before.fills[method], fill) for method, fill in now.fills.items()}
    return {"truth": (before.truth, now.truth), **fills}


def read_masked(film: FilmFiles, size: tuple[int, int] | None) -> Iterator[MaskedFrames]:
    """The frames of a film with its mask and its fills, all at one size.

    Raises:
        InputError: the mask or a fill differs in number or size of frames.
    """
    with contextlib.ExitStack() as stack:
        truth = stack.enter_context(open_video(film.truth, "pyav"))
        fills = {m: stack.enter_context(open_video(path, "pyav")) for m, path in film.fills.items()}
        mask, picture = None, None
        if is_mask_film(film.mask):
            mask = open_mask_film(film.mask, truth.num_frames)
            stack.callback(mask.close)
            _check_match(film.mask, mask, truth, size)
        else:
            picture = _resize_mask(read_mask_picture(film.mask), size)
        for method, path in film.fills.items():
            _check_match(path, fills[method], truth, size)
        for number in range(truth.num_frames):
            frame = _resize(truth.frames([number])[0], size)
            hole = _resize_mask(mask.hidden(number, number + 1)[0], size) if mask else picture
            if hole is None or hole.shape != frame.shape[:2]:
                raise InputError(f"{film.mask}: the mask has another size than {film.truth}; {SIZE_REMEDY}")
            filled = {m: _resize(video.frames([number])[0], size) for m, video in fills.items()}
            yield MaskedFrames(
                frame, hole, {m: np.where(hole[..., None], fill, frame) for m, fill in filled.items()}
            )


SIZE_REMEDY = "give --size WxH to resize everything"


def _check_match(
    path: Path, other: VideoReader | MaskFilm, truth: VideoReader, size: tuple[int, int] | None
) -> None:
    if other.num_frames != truth.num_frames:
        raise InputError(
            f"{path}: has {other.num_frames} frames and {truth.path} {truth.num_frames}; give as many, since "
            "the protocol compares them frame by frame"
        )
    if size is None and (other.height, other.width) != (truth.height, truth.width):
        raise InputError(
            f"{path}: has {other.width} x {other.height} pixels and {truth.path} {truth.width} x "
            f"{truth.height}; {SIZE_REMEDY}"
        )


def _resize(frame: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    if size is None or frame.shape[1::-1] == size:
        return frame
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))


def _resize_mask(mask: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    if size is None or mask.shape[::-1] == size:
        return mask
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def groups(films: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The names of the films in each group: all, and by the speed of the camera and of the object."""
    found = {"all": [film["name"] for film in films]}
    for mover in ("camera", "object"):
        for speed in SPEEDS:
            names = [film["name"] for film in films if _speed(film[f"{mover}_motion"]) == speed]
            if names:
                found[f"{mover}: {speed}"] = names
    return found


def _speed(percent: float) -> str:
    return next(name for name, limit in SPEEDS.items() if percent < limit)


def _mean_rows(group: str, names: list[str], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over a group's films, by fill."""
    members = [row for row in rows if row["group"] in {f"film: {name}" for name in names}]
    return [
        {
            "group": group,
            "films": len(names),
            "fill": fill,
            **{
                metric: _mean(
                    [r[metric] for r in members if r["fill"] == fill and r[metric] is not None], None
                )
                for metric in METRICS
            },
        }
        for fill in dict.fromkeys(row["fill"] for row in members)
    ]


def _mean(values: list[float], otherwise: float | None) -> Any:
    return float(np.mean(values)) if values else otherwise
