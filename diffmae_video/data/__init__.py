"""Turns lists of videos into clips. Nothing in this package knows about models."""

from diffmae_video.data.classes import class_indices, class_names, label_targets
from diffmae_video.data.clip_sampler import ClipSampler
from diffmae_video.data.faults import Fault, FaultLog
from diffmae_video.data.folders import find_videos
from diffmae_video.data.labelled_clips import LabelledClips, LabelledDataset
from diffmae_video.data.lists import Entry, read_list, spread, write_list
from diffmae_video.data.loader import training_loader
from diffmae_video.data.pretraining_clips import ClipDataset, TrainingClips, clips_on
from diffmae_video.data.views import ViewDataset, Views, read_clip, uniform_clips
from diffmae_video.decoding import VideoError, VideoReader, open_video
from diffmae_video.normalisation import denormalise, normalise
