"""DiffMAE: Diffusion Models as Masked Autoencoders, video first.

Names are imported when they are first used: a process that only decodes needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffmae_video.build import build_loader, build_model
    from diffmae_video.config import load_config
    from diffmae_video.data import open_video, read_clip
    from diffmae_video.errors import InputError
    from diffmae_video.film.one_call import inpaint
    from diffmae_video.masks import Mask
    from diffmae_video.models import load_encoder, load_model

__version__ = "0.2.0"

__all__ = [
    "InputError",
    "Mask",
    "build_loader",
    "build_model",
    "inpaint",
    "load_config",
    "load_encoder",
    "load_model",
    "open_video",
    "read_clip",
]

_HOMES = {
    "InputError": "errors",
    "Mask": "masks",
    "build_loader": "build",
    "build_model": "build",
    "inpaint": "film.one_call",
    "load_config": "config",
    "load_encoder": "models",
    "load_model": "models",
    "open_video": "data",
    "read_clip": "data",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
