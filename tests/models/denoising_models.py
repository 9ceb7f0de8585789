"""A tiny DDPM and a tiny ADM, for tests."""

import torch

from diffmae_video.models import ADM, DDPM

UNET = {"width": 32, "multipliers": [1, 2, 2], "resnets": 1, "attention": [8, 4], "head_width": 32}
VIT = {"width": 32, "depth": 2, "heads": 2}


def ddpm(frames=1, prediction="eps", **encoder):
    patch = (1, 4, 4) if frames == 1 else (2, 4, 4)
    return DDPM((16, 16), frames, patch, {**VIT, **encoder}, prediction=prediction).eval()


def adm(prediction="eps"):
    model = ADM((16, 16), 1, (1, 4, 4), UNET, prediction=prediction).eval()
    for parameter in model.parameters():  # or what is 0 at first would hide the rest
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model
