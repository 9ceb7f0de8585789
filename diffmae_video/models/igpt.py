"""iGPT (Chen et al. 2020): a GPT over the pixels of a small picture, in raster order.

The network is :class:`transformers.ImageGPTModel`. This file adds the colours (each pixel becomes the
nearest of some clusters), the head, the features for recognition, sampling and completion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffmae_video.errors import InputError, require
from diffmae_video.masks import Mask
from diffmae_video.models.backbone import Backbone, check_pictures, pictures_of
from diffmae_video.models.base import Inpainting, Output, PretrainingModel, repeat_clips
from diffmae_video.models.colours import colour_clusters
from diffmae_video.models.pixels import IMAGENET_MEAN, IMAGENET_STD
from diffmae_video.runtime.eval_mode import evaluating
from diffmae_video.tokens import Triple, grid_of

PIXELS = 2**16  # quantised at once, to bound the memory


class PixelGPT(Backbone):
    """A GPT over the colours of a picture's pixels, row by row.

    The sequence starts with a learned token and leaves out the last pixel, so the features at a pixel depend
    only on the pixels before it (iGPT).

    Args:
        image_size: (height, width) of the pictures in pixels; each pixel is a token.
        num_frames: must be 1.
        patch: of the masks for inpainting; the network itself has no patches.
        width, depth, heads: of the transformer.
        colours: the number of clusters (iGPT: 512).
        layer: the layer whose features ``forward`` returns, 1 to depth; 0 for the middle one.
        mean, std: of the normalisation that pictures have gone through, on pixels in [0, 1].

    Raises:
        InputError: more than one frame, sizes that do not fit together, or no such layer.
        MissingExtraError: transformers is not installed.
    """

    # the colours, float [colours, 3], a buffer of whole numbers from 0 to 255, which bf16 holds
    # exactly; all zero until prepare or set_palette
    palette: Tensor
    feature_layer: int
    reads_pixels_first: ClassVar[bool] = True

    def __init__(
        self,
        image_size: Sequence[int] = (32, 32),
        num_frames: int = 1,
        patch: Sequence[int] = (1, 4, 4),
        width: int = 1536,
        depth: int = 48,
        heads: int = 16,
        colours: int = 512,
        layer: int = 0,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        check_pictures("igpt", num_frames)
        if width % heads:
            raise InputError(f"igpt: a width of {width} is not divisible by {heads} heads")
        self.patch: Triple = (patch[0], patch[1], patch[2])
        self.grid = grid_of((num_frames, image_size[0], image_size[1]), self.patch)
        self.size, self.width = (image_size[0], image_size[1]), width
        self.mean, self.std = tuple(mean), tuple(std)
        library = require("transformers", "compare")
        shape = library.ImageGPTConfig(
            vocab_size=colours + 1,  # plus the start token
            n_positions=image_size[0] * image_size[1],
            n_embd=width,
            n_layer=depth,
            n_head=heads,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
        self.gpt = library.ImageGPTModel(shape)
        self.head = nn.Linear(width, colours, bias=False)
        nn.init.zeros_(self.head.weight)  # all colours are equally likely at first
        self.register_buffer("palette", torch.zeros(colours, 3))
        self.set_feature_layer(layer)

    @property
    def depth(self) -> int:
        return len(self.blocks)

    @property
    def blocks(self) -> Any:
        return self.gpt.h

    def layers(self) -> list[list[nn.Parameter]]:
        """The embeddings of colours and positions; then each block."""
        embedding = [*self.gpt.wte.parameters(), *self.gpt.wpe.parameters()]
        return [embedding, *([*block.parameters()] for block in self.blocks)]

    def classifier_arguments(self, drop_path: float) -> dict[str, Any]:
        """See :class:`Backbone`. Fine-tuning reads the last layer, as in iGPT."""
        return {**super().classifier_arguments(drop_path), "layer": self.depth}

    def set_feature_layer(self, layer: int) -> None:
        """Reads features from another layer: 1 to depth, or 0 for the middle one.

        Raises:
            InputError: there is no such layer.
        """
        if not 0 <= layer <= self.depth:
            raise InputError(f"MODEL.IGPT.LAYER: 1 to {self.depth}, or 0 for the middle layer; got {layer}")
        self.feature_layer = layer or max(1, self.depth // 2)

    def layer_features(self, clip: Tensor) -> Tensor:
        """The features of each layer, first to last, as means over the pixels: [B, depth, D]."""
        read = torch.cat([self.start(len(clip)), self.tokens_of(clip)[:, :-1]], dim=1)
        out = self.gpt(read, output_hidden_states=True, use_cache=False)
        inner = [
            block.ln_1(x).mean(1) for block, x in zip(self.blocks[1:], out.hidden_states[1:-1], strict=True)
        ]
        return torch.stack([*inner, out.last_hidden_state.mean(1)], dim=1)

    def set_palette(self, palette: Tensor) -> None:
        """Sets the colours, [colours, 3] in 0..255."""
        self.palette.copy_(palette.round())

    def prepare(self, pixels: Tensor, seed: int) -> None:
        """Clusters the pixels into the palette."""
        self.set_palette(colour_clusters(pixels.cpu().numpy(), len(self.palette), seed))

    def set_generative(self, is_on: bool) -> None:
        """Trains the head that predicts the next pixel's colour, or freezes it; classifiers do not use it."""
        self.head.requires_grad_(is_on)

    def no_weight_decay(self) -> set[str]:
        """The tables of colours and positions, as in GPT's training."""
        return {"gpt.wte.weight", "gpt.wpe.weight"}

    def tokens_of(self, clip: Tensor) -> Tensor:
        """The nearest colour to each pixel of normalised pictures [B, 3, (1,) H, W]: int64 [B, H * W].

        Raises:
            InputError: the pictures have another size.
        """
        pictures = pictures_of(clip)
        if pictures.shape[2:] != self.size:
            raise InputError(
                f"igpt: takes pictures of {self.size[0]} x {self.size[1]} pixels, got "
                f"{pictures.shape[2]} x {pictures.shape[3]}"
            )
        mean, std = (torch.tensor(x, device=clip.device).view(3, 1, 1) for x in (self.mean, self.std))
        pixels = ((pictures.float() * std + mean) * 255).flatten(2).transpose(1, 2)  # [B, N, 3]
        palette = self.palette.float()
        length = palette.square().sum(1)
        nearest = [(length - 2 * part @ palette.T).argmin(1) for part in pixels.reshape(-1, 3).split(PIXELS)]
        return torch.cat(nearest).view(len(pixels), -1)

    def pictures_of_tokens(self, tokens: Tensor) -> Tensor:
        """Colours int64 [B, H * W] -> normalised pictures [B, 3, 1, H, W], float32."""
        mean, std = (torch.tensor(x, device=tokens.device) for x in (self.mean, self.std))
        pixels = (self.palette.float()[tokens] / 255 - mean) / std  # [B, N, 3]
        return pixels.transpose(1, 2).unflatten(2, self.size)[:, :, None]

    def start(self, count: int) -> Tensor:
        """The start token: int64 [count, 1]."""
        device = self.palette.device
        return torch.full((count, 1), len(self.palette), dtype=torch.int64, device=device)

    def states(self, tokens: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """The features of one layer and of the last layer, [B, N, D] each, for colours int64 [B, N].

        Features go through the norm that follows the layer in the network (iGPT: n^l = norm(h^l)).
        """
        read = torch.cat([self.start(len(tokens)), tokens[:, :-1]], dim=1)
        wants_middle = layer < self.depth
        out = self.gpt(read, output_hidden_states=wants_middle, use_cache=False)
        last = out.last_hidden_state
        return (self.blocks[layer].ln_1(out.hidden_states[layer]) if wants_middle else last), last

    def loss_of(self, last: Tensor, tokens: Tensor) -> Tensor:
        """The mean cross-entropy in nats per pixel, from the last layer's features [B, N, D]."""
        return F.cross_entropy(self.head(last).float().flatten(0, 1), tokens.flatten())

    def tokens_and_loss(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """The features of ``forward`` and the loss of the next pixel's colour, in one pass."""
        tokens = self.tokens_of(clip)
        features, last = self.states(tokens, self.feature_layer)
        return features, self.loss_of(last, tokens)

    def forward(self, clip: Tensor) -> Tensor:
        """Pictures [B, 3, (1,) H, W] to the features [B, H * W, D] of ``feature_layer``."""
        return self.states(self.tokens_of(clip), self.feature_layer)[0]

    @torch.no_grad()
    def complete(
        self, tokens: Tensor, hidden: Tensor, temperature: float, generator: torch.Generator
    ) -> Tensor:
        """Draws the hidden pixels one by one, each given all pixels before it.

        Args:
            tokens: int64 [B, N]; hidden ones are never read.
            hidden: bool [B, N].
            temperature: logits are divided by it.

        Raises:
            InputError: the temperature is not above 0.
        """
        if temperature <= 0:
            raise InputError(f"the temperature must be above 0, got {temperature}")
        require("transformers", "compare")
        from transformers import DynamicCache

        tokens = tokens.masked_fill(hidden, 0)
        if not hidden.any():
            return tokens
        first = int(hidden.any(0).nonzero()[0])
        cache: Any = DynamicCache()
        read = torch.cat([self.start(len(tokens)), tokens[:, :first]], dim=1)
        for i in range(first, tokens.shape[1]):
            # by position: the argument's name differs between versions of transformers
            last = self.gpt(read, cache, use_cache=True).last_hidden_state[:, -1]
            chances = (self.head(last).float() / temperature).softmax(1)
            drawn = torch.multinomial(chances, 1, generator=generator)  # [B, 1]
            read = torch.where(hidden[:, i : i + 1], drawn, tokens[:, i : i + 1])
            tokens[:, i : i + 1] = read
        return tokens


class IGPT(PretrainingModel):
    """iGPT's pre-training: the loss of the next pixel's colour.

    Args:
        image_size, num_frames, patch, mean, std: see :class:`PixelGPT`, also for errors.
        encoder: further arguments of :class:`PixelGPT`.
    """

    encoder: PixelGPT
    generates: ClassVar[bool] = True

    def __init__(
        self,
        image_size: Sequence[int] = (32, 32),
        num_frames: int = 1,
        patch: Sequence[int] = (1, 4, 4),
        encoder: dict[str, Any] | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        arguments = {**(encoder or {}), "mean": mean, "std": std}
        super().__init__(PixelGPT(image_size, num_frames, patch, **arguments), mean, std)

    def objective(self, clip: Tensor) -> Output:
        """The mean cross-entropy in nats per pixel; the prediction is the logits [B, N, colours].

        Args:
            clip: float [B, 3, 1, H, W], normalised; N = H * W.
        """
        tokens = self.encoder.tokens_of(clip)  # [B, N]
        last = self.encoder.states(tokens, self.encoder.depth)[1]  # [B, N, D]
        logits = self.encoder.head(last).float()  # [B, N, colours]
        return Output(F.cross_entropy(logits.flatten(0, 1), tokens.flatten()), logits)

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0, temperature: float = 1.0) -> Inpainting:
        """Generates pictures [count, 3, 1, H, W], normalised, on the model's device.

        Args:
            temperature: logits are divided by it.

        Raises:
            InputError: the temperature is not above 0.
        """
        length = math.prod(self.encoder.size)
        tokens = torch.zeros(count, length, dtype=torch.int64, device=self.encoder.palette.device)
        generator = torch.Generator(tokens.device).manual_seed(seed)
        with evaluating(self):
            drawn = self.encoder.complete(
                tokens, torch.ones_like(tokens, dtype=torch.bool), temperature, generator
            )
        return Inpainting(self.encoder.pictures_of_tokens(drawn), None, [0])

    def fill_steps(
        self,
        clip: Tensor,
        mask: Mask,
        generator: torch.Generator,
        sampler: str,
        steps: int,
        num_samples: int,
        temperature: float = 1.0,
    ) -> Iterator[tuple[int, Tensor]]:
        """One step at t = 0, which draws the masked pixels one by one in raster order.

        Each pixel depends on those before it only, so visible pixels below a hole do not influence the fill.
        With the lower half masked this is iGPT's completion.

        Args:
            temperature: logits are divided by it.

        Raises:
            InputError: the temperature is not above 0.
        """
        clip, mask = repeat_clips(clip, mask, num_samples)
        hidden = mask.to_pixels(self.patch)[:, 0, 0].flatten(1)  # [B, N]
        drawn = self.encoder.complete(self.encoder.tokens_of(clip), hidden, temperature, generator)
        yield 0, self.masked_patches(self.encoder.pictures_of_tokens(drawn), mask)

    def previews(self, clip: Tensor, mask: Mask, steps: int) -> dict[str, Tensor]:
        """The picture completed, and pictures generated from nothing."""
        return {"completed": self.inpaint(clip, mask).clip, "generated": self.sample(len(clip)).clip}
