"""The models; each file reads alone."""

from diffmae_video.models.decoder import Decoder
from diffmae_video.models.diffmae import DiffMAE, Inpainting, Output
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.pretrained import load_model

MODELS = (DiffMAE, Encoder)

__all__ = ["MODELS", "Decoder", "DiffMAE", "Encoder", "Inpainting", "Output", "load_model"]
