"""Encoders and classifiers with nothing at its initial value, where a mistake would not show."""

import torch
from torch import nn

from diffmae_video.models import Classifier

IMAGE = {"image_size": (32, 32), "num_frames": 1, "patch": (1, 8, 8)}
VIDEO = {"image_size": (32, 32), "num_frames": 4, "patch": (2, 8, 8)}
SMALL = {"width": 48, "depth": 2, "heads": 3, "mlp_ratio": 2.7}
CLASSES = ["riding a bike", "texting", "ærobics"]
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def randomize(model: nn.Module) -> nn.Module:
    """Nothing at its initial zeros and ones, where a mistake would not show."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


@torch.no_grad()
def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def classifier(sizes, pool="mean", multi_label=False, **encoder):
    model = Classifier(
        CLASSES, **sizes, encoder={**SMALL, **encoder}, pool=pool, multi_label=multi_label, mean=MEAN, std=STD
    )
    return randomize(model)
