"""DiffMAE: Diffusion Models as Masked Autoencoders, video first."""

from diffmae_video.build import build_loader, build_model
from diffmae_video.config import load_config
from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.models import load_encoder, load_model

__version__ = "0.1.0"

__all__ = ["InputError", "Mask", "build_loader", "build_model", "load_config", "load_encoder", "load_model"]
