"""Replays a denoiser as a CUDA graph, so that its hundreds of kernels are started by one call."""

from __future__ import annotations

import torch
from torch import Tensor

from diffmae_video.diffusion import PredictX0
from diffmae_video.errors import InputError

WARM_UP = 3  # calls before the capture, in which libraries allocate what they need


class GraphedPredictor:
    """A denoiser that is captured at the first call and replayed from then on.

    All calls must have the shapes of the first one. The denoiser may not copy anything from the CPU or wait
    for the device, which holds for clips of the model's own size.

    Args:
        predict_x0: the denoiser, with gradients off.
    """

    def __init__(self, predict_x0: PredictX0) -> None:
        self.predict_x0 = predict_x0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.xt: Tensor
        self.t: Tensor
        self.x0: Tensor

    def __call__(self, xt: Tensor, t: Tensor) -> Tensor:
        """Clean patches of noised ones, see :data:`~diffmae_video.diffusion.PredictX0`.

        Raises:
            InputError: the tensors are not on a CUDA device.
        """
        if self.graph is None:
            self._capture(xt, t)
        assert self.graph is not None
        self.xt.copy_(xt)
        self.t.copy_(t)
        self.graph.replay()
        return self.x0.clone()

    def _capture(self, xt: Tensor, t: Tensor) -> None:
        if xt.device.type != "cuda":
            raise InputError(f"cuda_graph: needs a CUDA device, and the clip is on {xt.device.type}")
        self.xt, self.t = xt.clone(), t.clone()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self.predict_x0(self.xt, self.t)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.x0 = self.predict_x0(self.xt, self.t)
        self.graph = graph
