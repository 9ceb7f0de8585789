"""The mean of several samples: the fill with the least expected squared error, and a blurred one."""

from torch import Tensor

from diffmae_video.masks import Mask
from diffmae_video.models import PretrainingModel
from diffmae_video.randomness import random_state


def posterior_mean(
    model: PretrainingModel, clip: Tensor, mask: Mask, samples: int, steps: int, seed: int
) -> Tensor:
    """The mean of a model's samples (DDIM) of the masked patches, pasted into the clip.

    A sample is one draw of what may be hidden, and sharp. The mean of all draws has the highest expected PSNR
    and is blurred, as a masked autoencoder's prediction. The first prediction (one step) aims at the same
    mean; how far the two are apart shows how well sampling follows the model's own belief.

    Args:
        clip: float [B, 3, T, H, W], normalised.
        samples: drawn one after the other, so that memory is that of one.
        steps: of each sample.
        seed: of the noise.
    """
    total = clip.new_zeros(())
    for i in range(samples):
        noise_seed = random_state(seed, i).initial_seed()
        total = total + model.inpaint(clip, mask, sampler="ddim", steps=steps, seed=noise_seed).clip
    return total / samples
