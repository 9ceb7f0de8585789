"""Frames of videos and pictures, in this process or in a guarded one; imports no torch."""

from diffmae_video.decoding.process import DecodingProcess
from diffmae_video.decoding.readers import BACKENDS, VideoError, VideoReader, open_video

__all__ = ["BACKENDS", "DecodingProcess", "VideoError", "VideoReader", "open_video"]
