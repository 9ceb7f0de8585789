"""Data sets of small clips, with the arguments that a test does not care about filled in."""

from diffmae_video.data import ClipDataset, ClipSampler, LabelledDataset, ViewDataset
from diffmae_video.data.augment import ClipAugmentation
from diffmae_video.diffusion import NoiseSchedule

READING = {"backend": "pyav", "short_side": 0, "timeout": 60.0}


def clip_dataset(entries, num_frames=4, stride=2, fps=0.0, **changes):
    arguments = {
        "size": (32, 32),
        "patch": (2, 8, 8),
        "mask": {"kind": "random", "ratio": 0.75},
        "mask_mix": None,
        "schedule": NoiseSchedule(),
        "token_timesteps": False,
        "crop_scale": (0.5, 1.0),
        "flip": True,
        "colour_jitter": (0.0, 0.0, 0.0),
        "crop_on_device": False,
        "decode_on_device": False,
        "repeats": 2,
        "seed": 0,
        **READING,
    }
    return ClipDataset(entries, ClipSampler(num_frames, stride, fps), **(arguments | changes))


def labelled_dataset(entries, labels, **changes):
    augment = ClipAugmentation((32, 32), (0.08, 1.0), True, rand_augment=(2, 9), erase=0.25)
    arguments = {"repeats": 2, "seed": 0, **READING} | changes
    return LabelledDataset(entries, labels, ClipSampler(4, 2, 0.0), augment, **arguments)


def view_dataset(entries, clip_sampler, size, temporal=1, spatial=1, policy="fail"):
    return ViewDataset(
        entries, clip_sampler, size, temporal=temporal, spatial=spatial, policy=policy, **READING
    )
