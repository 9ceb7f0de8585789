"""A classifier of clips: a backbone, pooling of its tokens, a norm, dropout and a linear head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffmae_video.errors import InputError
from diffmae_video.models.backbone import Backbone
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.pixels import IMAGENET_MEAN, IMAGENET_STD
from diffmae_video.models.pretrained import Pretrained, load_model, saved_classes

POOLS = ("mean", "token")


class Classifier(nn.Module, Pretrained):
    """Classifies clips; an image is a clip of one frame.

    Args:
        classes: names of the classes, in the order of the logits.
        image_size, num_frames, patch: see :class:`~diffmae_video.models.encoder.Encoder`.
        encoder: further arguments of the backbone. ``pool`` decides whether an Encoder has a final norm.
        pool: ``mean`` averages the patch tokens and applies a norm in place of the encoder's (MAE); ``token``
            takes the class token after the encoder's norm.
        dropout: before the head.
        multi_label: a clip may have any number of classes, and probabilities are sigmoids.
        mean, std: of the normalisation that clips have gone through, on pixels in [0, 1].
        backbone: the class of the backbone, such as Encoder, UNetEncoder or PixelGPT.

    Raises:
        InputError: there are no classes or one is named twice, the pool or backbone is unknown, or the
            backbone has no class token to pool by.
    """

    feature_layer: int | None = None  # the layer is part of the classifier; see Backbone.feature_layer

    def __init__(
        self,
        classes: Sequence[str],
        image_size: Sequence[int] = (224, 224),
        num_frames: int = 16,
        patch: Sequence[int] = (2, 16, 16),
        encoder: dict[str, Any] | None = None,
        pool: str = "mean",
        dropout: float = 0.0,
        multi_label: bool = False,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        backbone: str = Encoder.__name__,
    ) -> None:
        super().__init__()
        if not classes or len(set(classes)) < len(classes):
            raise InputError(
                f"a classifier needs one or more classes, each named once; got {len(classes)} names"
            )
        if pool not in POOLS:
            raise InputError(f"unknown pool {pool!r}; choose from {', '.join(POOLS)}")
        self.classes, self.pool, self.multi_label = list(classes), pool, multi_label
        self.mean, self.std = tuple(mean), tuple(std)
        backbones = {name: x for name, x in saved_classes().items() if issubclass(x, Backbone)}
        if backbone not in backbones:
            raise InputError(f"unknown backbone {backbone!r}; choose from {', '.join(backbones)}")
        arguments = dict(encoder or {})
        self.encoder: Backbone = backbones[backbone].for_pool(
            pool, image_size=image_size, num_frames=num_frames, patch=patch, **arguments
        )
        eps = arguments.get("eps", 1e-6)
        self.fc_norm = nn.LayerNorm(self.encoder.width, eps=eps) if pool == "mean" else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.encoder.width, len(classes))
        nn.init.trunc_normal_(self.head.weight, std=2e-5)  # MAE: the first logits are even
        nn.init.zeros_(self.head.bias)

    @classmethod
    def on(
        cls,
        encoder: Backbone,
        classes: Sequence[str],
        drop_path: float = 0.0,
        pool: str = "mean",
        **arguments: Any,
    ) -> Classifier:
        """A classifier with the weights of an encoder and a fresh head.

        Args:
            encoder: the backbone; it is copied, not changed.
            drop_path: see :class:`~diffmae_video.models.encoder.Encoder`.
            arguments: ``dropout``, ``multi_label``, ``mean`` and ``std``.

        Raises:
            InputError: see :class:`Classifier`.
        """
        own = encoder.classifier_arguments(drop_path)
        shape = {name: own.pop(name) for name in ("image_size", "num_frames", "patch")}
        kind = type(encoder).__name__
        model = cls(classes, **shape, encoder=own, pool=pool, backbone=kind, **arguments)
        theirs, ours = encoder.state_dict(), model.encoder.state_dict()
        # Pool "mean" drops the encoder's norm; pool "token" starts a fresh norm if the encoder has none.
        model.encoder.load_state_dict(ours | {name: theirs[name] for name in ours if name in theirs})
        return model

    def freeze(self, blocks: int) -> None:
        """Freezes the embedding, the positions and the first blocks.

        Raises:
            InputError: the encoder has fewer blocks.
        """
        if blocks > self.encoder.depth:
            raise InputError(f"FINETUNE.FREEZE: {blocks} blocks, but the encoder has {self.encoder.depth}")
        for layer in self.encoder.layers()[: blocks + 1]:
            for parameter in layer:
                parameter.requires_grad_(False)

    def backbone(self) -> Backbone:
        """The backbone that the head is on."""
        return self.encoder

    def encode(self, clip: Tensor) -> Tensor:
        """Patch tokens [B, N, D] of the backbone, without the class token."""
        return self.encoder.encode(clip)

    def tokens_and_features(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Patch tokens [B, N, D], and the features [B, D] that the head sees.

        ``clip`` is a float clip [B, 3, T, H, W]; an image [B, 3, H, W] is taken as one frame.
        """
        if self.pool == "token":
            return self.encoder.tokens_and_class_token(clip)
        tokens = self.encode(clip)
        return tokens, self._pooled(tokens)

    def features(self, clip: Tensor) -> Tensor:
        """The features [B, D] that the head sees."""
        return self.tokens_and_features(clip)[1]

    def forward(self, clip: Tensor, generative: bool = False) -> Any:
        """Logits [B, classes] of clips, see :meth:`tokens_and_features`.

        With ``generative`` also the backbone's generative loss, for iGPT's joint objective.

        Raises:
            InputError: ``generative``, and the backbone has no such loss.
        """
        if not generative:
            return self.head(self.dropout(self.features(clip)))
        tokens, loss = self.encoder.tokens_and_loss(clip)
        return self.head(self.dropout(self._pooled(tokens))), loss

    def _pooled(self, tokens: Tensor) -> Tensor:
        return self.fc_norm(tokens.mean(1))  # [B, D]

    def probabilities(self, logits: Tensor) -> Tensor:
        """The probability of each class from logits [..., classes]; they sum to 1 unless ``multi_label``."""
        return logits.sigmoid() if self.multi_label else torch.softmax(logits, -1)


def load_classifier(folder: str | Path, averaged: bool = False) -> Classifier:
    """The fine-tuned classifier of a folder, in evaluation mode.

    Args:
        averaged: load the moving average of the weights.

    Raises:
        InputError: the folder holds another model or no average; see also
            :func:`~diffmae_video.models.pretrained.load_model`.
    """
    model = load_model(folder, averaged)
    if not isinstance(model, Classifier):
        raise InputError(
            f"{folder}: holds a pre-trained {type(model).__name__}, not a classifier; fine-tune it with "
            f"diffmae finetune --init {folder}, or measure its features with diffmae probe"
        )
    return model
