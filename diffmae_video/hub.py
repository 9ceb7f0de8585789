"""Weights by their name on the Hugging Face hub, wherever a path of weights is taken."""

import re
from pathlib import Path

from huggingface_hub import snapshot_download

from diffmae_video.errors import InputError

MODEL_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
PREFERRED, OTHERS = ["*.json", "*.yaml", "*.safetensors"], ["*.bin", "*.pth", "*.pt"]


def local_weights(name: str | Path) -> Path:
    """The local path of weights, which are downloaded if the name is a model's on the hub.

    A path that exists is returned as it is. ``owner/model`` is downloaded into the hub's cache, safetensors
    where the model has them; the hub's own variables (HF_HOME, HF_TOKEN, HF_HUB_OFFLINE, ...) apply. Other
    names are returned unchanged, for the reader to report.

    Raises:
        InputError: the name looks like a model's on the hub, but cannot be downloaded.
    """
    path = Path(name)
    if (
        path.exists()
        or path.suffix in (".safetensors", ".bin", ".pth", ".pt")
        or not MODEL_NAME.fullmatch(str(name))
    ):
        return path
    try:
        folder = Path(snapshot_download(str(name), allow_patterns=PREFERRED))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(str(name), allow_patterns=PREFERRED + OTHERS))
    except (OSError, ValueError) as error:  # all of the hub's errors are among these
        reason = " ".join(str(error).split()).partition(". ")[0]
        raise InputError(
            f"{name}: no such file or folder, and no model of the Hugging Face hub that can be downloaded "
            f"({reason})"
        ) from error
    return folder
