"""Optical flow between two frames, what it hides, and the warping error of a film along it."""

import numpy as np
import torch
import torch.nn.functional as F

from diffmae_video.errors import require


class OpticalFlow:
    """Dense flow between two frames, by OpenCV's DIS method (Kroeger et al. 2016).

    Papers use FlowNet 2 or RAFT; DIS needs no weights. Errors along another flow are not comparable.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """

    def __init__(self) -> None:
        self.cv2 = require("cv2", "metrics")
        self.method = self.cv2.DISOpticalFlow_create(self.cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """How far each pixel of the first frame moves: uint8 [H, W, 3] -> float32 [H, W, 2] (x, y)."""
        one, other = (self.cv2.cvtColor(frame, self.cv2.COLOR_RGB2GRAY) for frame in (first, second))
        flow: np.ndarray = self.method.calc(one, other, None)
        return flow


def warp(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Fetches each pixel from where the flow leads, bilinearly, at the nearest edge if that is outside.

    Args:
        picture: [H, W, C].
        flow: [H, W, 2] (x, y) in pixels.

    Returns:
        float32 [H, W, C].
    """
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    x = 2 * (columns + flow[..., 0]) / max(width - 1, 1) - 1
    y = 2 * (rows + flow[..., 1]) / max(height - 1, 1) - 1
    grid = torch.from_numpy(np.stack([x, y], -1).astype(np.float32))[None]
    source = torch.from_numpy(np.ascontiguousarray(picture, np.float32)).permute(2, 0, 1)[None]
    fetched = F.grid_sample(source, grid, mode="bilinear", padding_mode="border", align_corners=True)
    warped: np.ndarray = fetched[0].permute(1, 2, 0).numpy()
    return warped


def occluded(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Pixels of the first frame that the second hides, and borders of motion: bool [H, W].

    The rule is that of Ruder et al. 2016 as Lai et al. 2018 apply it to the warping error: forward and
    backward flow do not cancel, or the flow changes abruptly.

    Args:
        forward, backward: the flows from the first frame to the second and back, float32 [H, W, 2].
    """
    returned = warp(backward, forward)
    size, returned_size = (forward**2).sum(-1), (returned**2).sum(-1)
    does_not_return = ((forward + returned) ** 2).sum(-1) > 0.01 * (size + returned_size) + 0.5
    change = np.zeros_like(size)
    change[:, :-1] += (np.diff(forward, axis=1) ** 2).sum(-1)
    change[:-1] += (np.diff(forward, axis=0) ** 2).sum(-1)
    is_border = change > 0.01 * size + 0.002
    hidden: np.ndarray = does_not_return | is_border
    return hidden


def warping_error(first: np.ndarray, second: np.ndarray, flow: np.ndarray, hidden: np.ndarray) -> float:
    """Mean squared difference of a frame and the next one, warped back along the flow (Lai et al. 2018).

    Args:
        first, second: frames, uint8 [H, W, 3]; levels count from 0 to 1.
        flow: from the first to the second frame of the true film, float32 [H, W, 2].
        hidden: pixels to leave out, bool [H, W]; 0 is the error if all are.
    """
    difference = (first.astype(np.float32) - warp(second, flow))[~hidden] / 255
    return float((difference.astype(np.float64) ** 2).mean()) if difference.size else 0.0
