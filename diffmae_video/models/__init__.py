"""The models; each file reads alone."""

from diffmae_video.models.adm import ADM, UNetEncoder
from diffmae_video.models.backbone import Backbone
from diffmae_video.models.base import Inpainting, Output, PretrainingModel, load_inpainter
from diffmae_video.models.classifier import Classifier, load_classifier
from diffmae_video.models.ddpm import DDPM
from diffmae_video.models.decoder import Decoder
from diffmae_video.models.diffmae import DiffMAE
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.igpt import IGPT, PixelGPT
from diffmae_video.models.mae import MAE
from diffmae_video.models.pretrained import load_model
from diffmae_video.models.weights.load_backbone import load_backbone, load_feature_model
from diffmae_video.models.weights.load_encoder import load_encoder
