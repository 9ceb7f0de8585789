"""Models small enough for a test."""

import torch

from diffmae_video.models import Classifier, DiffMAE


def tiny_diffmae(
    kind: str = "cross_self", frames: int = 4, size: tuple[int, int] = (32, 32), **kwargs
) -> DiffMAE:
    """A model small enough for a test: 2 x 8 x 8 patches, 32 wide."""
    encoder = {"width": 32, "depth": 3, "heads": 2, **kwargs.pop("encoder", {})}
    decoder = {"kind": kind, "width": 32, "depth": 2, "heads": 2, **kwargs.pop("decoder", {})}
    patch = kwargs.pop("patch", (2, 8, 8))
    kwargs.setdefault("mask", {"kind": "random", "ratio": 0.75})
    return DiffMAE(size, frames, patch, encoder, decoder, **kwargs).eval()


def tiny_classifier(classes: int = 3, size: tuple[int, int] = (32, 24), **kwargs) -> Classifier:
    """A classifier of clips of 4 frames whose logits differ between clips; its dropout acts in training."""
    encoder = {"width": 32, "depth": 2, "heads": 2}
    names = [f"class {i}" for i in range(classes)]
    model = Classifier(names, size, 4, (2, 8, 8), encoder, dropout=0.5, **kwargs)
    torch.nn.init.normal_(model.head.weight)
    return model
