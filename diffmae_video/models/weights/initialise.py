"""Starts pre-training from weights: of a folder of ours, MAE, MAE-ST, VideoMAE, Hugging Face or timm."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffmae_video.errors import InputError
from diffmae_video.models.base import PretrainingModel
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.masked_autoencoder import MaskedAutoencoder
from diffmae_video.models.weights.files import own_config
from diffmae_video.models.weights.load_encoder import fit_encoder, load_encoder, own_model, trained_encoder

FIXED = ("sincos", "sharp", "sinusoid", "rope")  # positions that are computed and not stored


def initialise(model: PretrainingModel, path: str | Path) -> str:
    """Gives a new model the weights of a trained one, in place.

    A masked autoencoder takes the encoder of any weights that ``load_encoder`` reads, fitted to the model's
    clips. It takes the decoder too if the folder holds a model of the same class with an equal decoder. Other
    models start only from a folder of the same class and sizes.

    Returns:
        One line that says what was taken and what starts afresh.

    Raises:
        InputError: the weights cannot be read, or do not fit the model; the message names the options that
            make it fit.
    """
    path = Path(path)
    config = own_config(path)
    saved = own_model(path)
    for name in ("mean", "std"):
        own = torch.tensor(getattr(model, name))
        if name in config and not torch.allclose(torch.tensor(config[name]), own):
            raise InputError(
                f"{path}: was trained on pixels normalised with {name} {config[name]}; set "
                f"DATA.{name.upper()} to that"
            )
    if isinstance(model, MaskedAutoencoder):
        note = _take_encoder(model, path, saved)
        return f"starts from {path}: {note} {_take_decoder(model, saved)}"
    if type(saved) is not type(model):
        raise InputError(
            f"{path}: {type(model).__name__} starts only from a folder of the same model, and not from an "
            "encoder alone"
        )
    different = _differences(_settings(saved), _settings(model))
    if different or not _load(model, saved):
        raise InputError(f"{path}: has other sizes than this recipe{_remedy(different)}")
    return f"starts from {path}: all weights"


def _take_encoder(model: MaskedAutoencoder, path: Path, saved: Any) -> str:
    frames, height, width = model.clip_size
    own = model.encoder
    if saved is None:
        # Weights do not tell their heads. Where their width does not either, the recipe does.
        heads = own.blocks[0].attn.num_heads if own.width % 64 else None  # type: ignore[union-attr]
        loaded = load_encoder(path, (height, width), frames, heads)  # type: ignore[arg-type]
    else:
        loaded = fit_encoder(path, trained_encoder(path, saved.backbone()), (height, width), frames, None)
    theirs = _encoder_settings(loaded)
    if (
        saved is not None and saved.backbone().positions.kind in FIXED
    ):  # fitted to other clips, they are a table
        theirs["MODEL.ENCODER.POSITIONS"] = saved.backbone().positions.kind
    elif _have_equal_tables(loaded, own):
        theirs["MODEL.ENCODER.POSITIONS"] = own.positions.kind
    different = _differences(theirs, _encoder_settings(own))
    if different:
        raise InputError(f"{path}: its encoder does not fit this recipe{_remedy(different)}")
    weights = loaded.state_dict()
    if own.positions.kind in FIXED:
        weights = {name: x for name, x in weights.items() if not name.startswith("positions.")}
    hidden, expected = (e.blocks[0].mlp.fc2.in_features for e in (loaded, own))  # type: ignore[union-attr]
    if hidden != expected:
        raise InputError(f"{path}: its MLPs are {hidden} wide, and those of this model {expected}")
    missing, _ = own.load_state_dict(weights, strict=False)
    fresh = [name for name in missing if not name.startswith("positions.")]
    return "the encoder without its last norm" if fresh else "the encoder"


def _take_decoder(model: MaskedAutoencoder, saved: Any) -> str:
    if type(saved) is not type(model):
        return "with a new decoder"
    different = _differences(_decoder_settings(saved), _decoder_settings(model))
    if different or not _load(model.decoder, saved.decoder):
        return f"with a new decoder, because the one there has {different or 'other sizes'}"
    return "and the decoder"


def _load(own: nn.Module, saved: nn.Module) -> bool:
    """Copies the weights of an equal module; False, and nothing is copied, if names or shapes differ."""
    weights, expected = saved.state_dict(), own.state_dict()
    if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in expected.items()}:
        return False
    own.load_state_dict(weights)
    return True


def _settings(model: PretrainingModel) -> dict[str, Any]:
    return _encoder_settings(model.encoder) if isinstance(model.encoder, Encoder) else {}


def _encoder_settings(encoder: Encoder) -> dict[str, Any]:
    """What the shapes of an encoder's weights do not tell, or not plainly, by option."""
    block: Any = encoder.blocks[0]
    return {
        "MODEL.PATCH": list(encoder.patch),
        "MODEL.BLOCK": encoder.block,
        "MODEL.QK_NORM": encoder.qk_norm,
        "MODEL.ENCODER.WIDTH": encoder.width,
        "MODEL.ENCODER.DEPTH": encoder.depth,
        "MODEL.ENCODER.HEADS": block.attn.num_heads,
        "MODEL.ENCODER.CLASS_TOKEN": encoder.has_class_token,
        "MODEL.ENCODER.POSITIONS": encoder.positions.kind,
    }


def _decoder_settings(model: MaskedAutoencoder) -> dict[str, Any]:
    """What makes equal weights of a decoder mean different things, by option."""
    decoder: Any = model.decoder
    return {
        "MODEL.PREDICTION": getattr(model, "prediction", "x0"),
        "MODEL.NORM_TARGET": model.normalize_target,
        "MODEL.DECODER.KIND": getattr(decoder, "kind", "joint"),
        "MODEL.DECODER.WIDTH": decoder.head.in_features,
        "MODEL.DECODER.DEPTH": len(decoder.blocks),
        "MODEL.DECODER.HEADS": decoder.positions.width // decoder.positions.head_width,
        "MODEL.DECODER.POSITIONS": decoder.positions.kind,
    }


def _have_equal_tables(one: Encoder, other: Encoder) -> bool:
    """Whether the positions that two encoders add are the same, however they are stored."""
    if "rope" in (one.positions.kind, other.positions.kind) or one.width != other.width:
        return False
    if one.grid != other.grid or other.positions.kind not in FIXED:
        return False
    with torch.no_grad():
        return torch.allclose(one.positions(one.grid), other.positions(other.grid), atol=1e-3)


def _differences(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """The settings in which theirs differ from ours, as options to set; empty if they are equal."""
    return ", ".join(f"{name} {value}" for name, value in theirs.items() if ours[name] != value)


def _remedy(options: str) -> str:
    return f"; set {options}" if options else ""
