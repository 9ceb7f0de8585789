"""Frames of videos and pictures, in this process or in a guarded one; imports no torch."""

from diffmae_video.decoding.backends import BACKENDS, VideoError, VideoReader, open_video
from diffmae_video.decoding.process import DecodingProcess
