"""The models; each file reads alone."""

from diffmae_video.models.classifier import Classifier
from diffmae_video.models.decoder import Decoder
from diffmae_video.models.diffmae import DiffMAE
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.mae import MAE
from diffmae_video.models.masked import Inpainting, MaskedAutoencoder, Output
from diffmae_video.models.pretrained import load_model
from diffmae_video.models.weights import load_encoder

MODELS = (DiffMAE, MAE, Encoder, Classifier)

__all__ = [
    "MAE",
    "MODELS",
    "Classifier",
    "Decoder",
    "DiffMAE",
    "Encoder",
    "Inpainting",
    "MaskedAutoencoder",
    "Output",
    "load_encoder",
    "load_model",
]
