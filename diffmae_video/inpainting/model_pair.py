"""Loads a model that samples, and an MAE to compare it with."""

from pathlib import Path

from diffmae_video.errors import InputError
from diffmae_video.models import PretrainingModel, load_inpainter
from diffmae_video.runtime.device import for_sampling


def load_pair(
    checkpoint: Path, mae: Path | None, precision: str
) -> tuple[PretrainingModel, PretrainingModel | None]:
    """Loads both models onto the default device, in evaluation mode.

    Args:
        checkpoint: folder of a model that fills masked clips by sampling, a DiffMAE.
        mae: folder of a model that fills them in one pass, an MAE; or None.
        precision: of the weights, see :func:`~diffmae_video.runtime.device.sampling_dtype`.

    Raises:
        InputError: a folder cannot be read or holds another kind of model, or the models take different
            clips or patches.
    """
    model = for_sampling(load_inpainter(checkpoint), precision)
    if model.schedule is None:
        raise InputError(
            f"{checkpoint}: a {type(model).__name__} predicts in one pass; give a DiffMAE here, and this "
            "model with --mae"
        )
    if mae is None:
        return model, None
    other = for_sampling(load_inpainter(mae), precision)
    if other.schedule is not None:
        raise InputError(f"{mae}: a {type(other).__name__} samples; give an MAE, which predicts in one pass")
    if (other.clip_size, other.patch) != (model.clip_size, model.patch):
        raise InputError(
            f"{mae}: takes clips of {list(other.clip_size)} in patches of {list(other.patch)}, but "
            f"{checkpoint} takes {list(model.clip_size)} in {list(model.patch)}; give models of the same "
            "clips and patches"
        )
    return model, other
