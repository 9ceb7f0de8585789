"""Models as folders of config.json and model.safetensors, on disk and on the Hugging Face hub."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from diffmae_video.errors import InputError
from diffmae_video.files import write_tensors, write_text
from diffmae_video.hub import local_weights
from diffmae_video.normalisation import denormalise, normalise

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
AVERAGED_WEIGHTS = "ema.safetensors"  # the moving average of a run's weights, beside WEIGHTS


class Pretrained(PyTorchModelHubMixin):
    """``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` for a model with JSON-able arguments.

    The hub's mixin records the arguments of ``__init__``. This class differs from it in four ways: it names
    the model's class in config.json, replaces files atomically, loads strictly, and never unpickles.
    """

    # whether load_model reads the moving average of the weights where a folder has one
    prefers_average: ClassVar[bool] = False
    _hub_mixin_config: dict[str, Any]
    mean: Sequence[float]  # of the normalisation, for models that take pixels
    std: Sequence[float]

    def normalise(self, clips: Tensor) -> Tensor:
        """Decoded clips, uint8 [B, T, H, W, 3] -> what the model takes, float32 [B, 3, T, H, W]."""
        return normalise(clips, self.mean, self.std)

    def denormalise(self, clips: Tensor) -> Tensor:
        """The inverse of :meth:`normalise`, rounded and clamped to uint8."""
        pixels = denormalise(clips, self.mean, self.std).clamp(0, 1).mul(255).round()
        return pixels.byte().movedim(-4, -1)

    def save_pretrained(
        self, save_directory: str | Path, *, state_dict: dict[str, Tensor] | None = None, **hub: Any
    ) -> None:
        """Writes config.json and model.safetensors into a folder, and removes the average of former weights.

        Args:
            save_directory: the folder; created if it does not exist.
            state_dict: weights to write in place of the model's own, for example gathered from shards.

        Raises:
            OSError: the folder cannot be written to; files that were there before are kept.
        """
        assert isinstance(self, nn.Module)
        folder = Path(save_directory)
        weights = self.state_dict() if state_dict is None else state_dict
        write_tensors(folder / WEIGHTS, weights)
        config = {"model": type(self).__name__, **self._hub_mixin_config}
        write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
        (folder / AVERAGED_WEIGHTS).unlink(missing_ok=True)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Uploads the folder to the hub; see huggingface_hub's mixin for the arguments."""
        return super().push_to_hub(repo_id, **kwargs)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, map_location: str = "cpu", **kwargs: Any) -> Any:
        hub = {
            name: kwargs.pop(name, None)
            for name in ("revision", "cache_dir", "force_download", "local_files_only", "token")
        }
        kwargs.pop("strict", None)  # loading is always strict
        path = Path(model_id) / WEIGHTS
        if not Path(model_id).is_dir():
            path = Path(hf_hub_download(repo_id=model_id, filename=WEIGHTS, **hub))
        return load_weights(cls(**kwargs), path).to(map_location)  # type: ignore[arg-type]


def load_weights(model: nn.Module, path: Path) -> nn.Module:
    """Loads a safetensors file strictly and puts the model into evaluation mode.

    Raises:
        InputError: the file is damaged, or its keys or shapes are not the model's; the message lists them.
    """
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}); copy or save it again") from error
    own = model.state_dict()
    problems = [f"missing {k}" for k in own if k not in weights]
    problems += [f"unknown {k}" for k in weights if k not in own]
    problems += [
        f"{k} is {list(weights[k].shape)} and not {list(v.shape)}"
        for k, v in own.items()
        if k in weights and weights[k].shape != v.shape
    ]
    if problems:
        raise InputError(
            f"{path}: not the weights of the model that {CONFIG} beside it describes: {'; '.join(problems)}"
        )
    model.load_state_dict(weights)
    return model.eval()


def saved_classes() -> dict[str, Any]:
    """The classes that a config.json may name, by name: all concrete ones, of every module in models/."""
    package = importlib.import_module("diffmae_video.models")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    classes: dict[str, Any] = {}
    remaining: list[type] = [Pretrained]
    while remaining:
        cls = remaining.pop()
        remaining += cls.__subclasses__()
        if issubclass(cls, nn.Module) and not inspect.isabstract(cls):
            classes[cls.__name__] = cls
    return dict(sorted(classes.items()))


def load_model(folder: str | Path, averaged: bool | None = None) -> Any:
    """Loads a model in evaluation mode.

    Args:
        folder: one that ``save_pretrained`` or a training run wrote, or a model's name on the hub.
        averaged: load the moving average of the weights (TRAIN.EMA) instead of those of the last step. By
            default, models that make pictures load it where the folder has one, and classifiers do not.

    Raises:
        InputError: a file is missing or damaged, the class is unknown, the keys are not the model's, or there
            is no average although ``averaged`` is set.
    """
    folder = local_weights(folder)
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder}: no {CONFIG} here; give the folder of a saved model")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        name = config.pop("model")
        if "trunk" in config:  # the argument's name in folders written before 2026-12
            config["backbone"] = config.pop("trunk")
    except (json.JSONDecodeError, KeyError, AttributeError, UnicodeDecodeError) as error:
        raise InputError(f"{folder / CONFIG}: not the configuration of a model of this project") from error
    classes = saved_classes()
    if name not in classes:
        raise InputError(f"{folder / CONFIG}: unknown model {name!r}; known are {', '.join(classes)}")
    try:
        model = classes[name](**config)
    except TypeError as error:
        raise InputError(f"{folder / CONFIG}: {error}") from error
    average = folder / AVERAGED_WEIGHTS
    if averaged and not average.is_file():
        raise InputError(f"{average}: no such file; only runs with TRAIN.EMA, say 0.9999, write it")
    if averaged is None:
        averaged = model.prefers_average and average.is_file()
    return load_weights(model, average if averaged else folder / WEIGHTS)
