"""Weights by their name on the Hugging Face hub, wherever a path of weights is taken."""

import re
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

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
        raise InputError(f"{name}: no such file or folder, and {_reason(str(name), error)}") from error
    return folder


def _reason(name: str, error: Exception) -> str:
    """Why a model was not downloaded, and the remedy, in one line."""
    if isinstance(error, GatedRepoError):
        return (
            f"this model of the Hugging Face hub is gated: ask for access at {name}'s page, and set HF_TOKEN"
        )
    if isinstance(error, RepositoryNotFoundError):
        return "the Hugging Face hub has no model of this name; if it is private, set HF_TOKEN"
    cause = error.__cause__ or error
    line = " ".join(f"{type(cause).__name__}: {cause}".split()).rstrip(".")
    if isinstance(error, LocalEntryNotFoundError):
        return (
            f"the Hugging Face hub was not reached ({line}); without internet, download the model's folder "
            "elsewhere and give its path, or set HF_HOME to a cache that holds it"
        )
    return f"the Hugging Face hub did not send a model of this name ({line})"


def check_own_folder(folder: Path) -> Path:
    """A folder that results may be written into.

    Raises:
        InputError: it lies in the hub's cache.
    """
    if Path(constants.HF_HUB_CACHE).resolve() in folder.absolute().parents:
        raise InputError(f"{folder}: is the hub's cache, which holds downloads only; give --output")
    return folder
