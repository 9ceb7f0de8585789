"""Videos in, clips out; knows nothing of models."""

from diffmae_video.data.clips import ClipDataset, TrainingClips, uniform_clips
from diffmae_video.data.loader import training_loader
from diffmae_video.data.manifest import Entry, find_videos, read_list, write_list
from diffmae_video.data.readers import VideoError, VideoReader, open_video
from diffmae_video.data.transforms import denormalise, normalise

__all__ = [
    "ClipDataset",
    "Entry",
    "TrainingClips",
    "VideoError",
    "VideoReader",
    "denormalise",
    "find_videos",
    "normalise",
    "open_video",
    "read_list",
    "training_loader",
    "uniform_clips",
    "write_list",
]
