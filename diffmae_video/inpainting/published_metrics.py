"""PSNR and SSIM of whole frames as papers on video inpainting define them."""

import numpy as np
import torch
import torch.nn.functional as F

from diffmae_video.errors import InputError

SSIM_WINDOW = 65  # pixels, in the evaluation of FuseFormer (Liu et al. 2021), E2FGVI and ProPainter
MAX_PSNR = 100.0  # dB, of frames that are equal


def frame_psnr(fill: np.ndarray, truth: np.ndarray, region: np.ndarray | None = None) -> float:
    """PSNR of a frame, uint8 [H, W, 3], in dB, at most ``MAX_PSNR``; over a region, bool [H, W], if given."""
    error = (fill.astype(np.float64) - truth.astype(np.float64)) ** 2
    mean = float((error if region is None else error[region]).mean())
    return min(MAX_PSNR, 10 * np.log10(255**2 / mean)) if mean else MAX_PSNR


def frame_ssim(fill: np.ndarray, truth: np.ndarray) -> float:
    """SSIM of a frame, uint8 [H, W, 3], in square windows of ``SSIM_WINDOW`` pixels inside the frame.

    The same as scikit-image's ``structural_similarity(..., win_size=65, channel_axis=-1, data_range=255)``:
    uniform windows, sample covariances, and the mean over channels.

    Raises:
        InputError: the frame is smaller than a window.
    """
    if min(fill.shape[:2]) < SSIM_WINDOW:
        raise InputError(
            f"SSIM needs frames of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, got {fill.shape[1]} x "
            f"{fill.shape[0]}; enlarge them with --size"
        )
    x, y = (torch.from_numpy(np.moveaxis(frame, -1, 0).astype(np.float64))[None] for frame in (fill, truth))
    mean_x, mean_y, square_x, square_y, product = _window_means(x, y, x * x, y * y, x * y)
    sample = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    var_x, var_y = sample * (square_x - mean_x**2), sample * (square_y - mean_y**2)
    covariance = sample * (product - mean_x * mean_y)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float(similarity.mean())


def _window_means(*pictures: torch.Tensor) -> list[torch.Tensor]:
    """The means of [1, C, H, W] in all windows: along columns, then along rows."""
    stacked = torch.cat(pictures, 1)
    means = F.avg_pool2d(F.avg_pool2d(stacked, (SSIM_WINDOW, 1), 1), (1, SSIM_WINDOW), 1)
    return list(means.chunk(len(pictures), 1))
