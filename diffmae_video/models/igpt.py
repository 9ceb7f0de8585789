"""iGPT (Chen et al. 2020): a GPT over the pixels of a small picture, in raster order.

transformers': the network, :class:`transformers.ImageGPTModel`. Ours: the colours (pixels become the
nearest of some clusters), the head, what goes downstream, sampling and completion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffmae_video.errors import InputError, require
from diffmae_video.masks import Mask
from diffmae_video.models.backbone import Backbone, check_pictures, pictures_of
from diffmae_video.models.masked import IMAGENET_MEAN, IMAGENET_STD, Inpainting, Output
from diffmae_video.models.pretrained import Pretrained
from diffmae_video.tokens import Triple, grid_of

PIXELS = 2**16  # whose nearest colours are looked for at once, for memory's sake


class PixelGPT(Backbone):
    """A GPT whose tokens are the colours of a picture's pixels, row by row.

    A pixel's features are made from those before it: the first token is a learned one, the last pixel is
    never read (iGPT).

    Args:
        image_size: (height, width) of the pictures in pixels: one token each.
        num_frames: 1.
        patch: of the masks for inpainting; the network has none.
        width, depth, heads: of the transformer.
        colours: the number of clusters (iGPT: 512).
        layer: whose features ``forward`` gives, 1 to depth; 0 for the middle one.
        mean, std: of the normalisation that pictures have gone through, on pixels in [0, 1].

    Attributes:
        palette: the colours, 0 to 255, whole numbers, float [colours, 3]; a buffer, all zero until
            :meth:`set_palette`. Whole, because bf16 holds those numbers exactly.

    Raises:
        InputError: more than one frame, sizes that do not fit, or a layer that is not there.
        MissingExtraError: transformers is not installed.
    """

    palette: Tensor

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
            raise InputError(f"igpt: a width of {width} does not divide by {heads} heads")
        self.patch: Triple = (patch[0], patch[1], patch[2])
        self.grid = grid_of((num_frames, image_size[0], image_size[1]), self.patch)
        self.size, self.width = (image_size[0], image_size[1]), width
        self.mean, self.std = tuple(mean), tuple(std)
        library = require("transformers", "compare")
        shape = library.ImageGPTConfig(
            vocab_size=colours + 1,  # and the token that comes first
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
        nn.init.zeros_(self.head.weight)  # all colours are as likely at first
        self.register_buffer("palette", torch.zeros(colours, 3))
        self.set_layer(layer)

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
        """As any trunk's; fine-tuning reads the last layer (iGPT)."""
        return {**super().classifier_arguments(drop_path), "layer": self.depth}

    def set_layer(self, layer: int) -> None:
        """Takes the features of another layer.

        Raises:
            InputError: there is no such layer.
        """
        if not 0 <= layer <= self.depth:
            raise InputError(f"MODEL.IGPT.LAYER: 1 to {self.depth}, or 0 for the middle one; got {layer}")
        self.layer = layer or max(1, self.depth // 2)

    def pooled_layers(self, clip: Tensor) -> Tensor:
        """Every layer's features, the first one's first, each their mean over the pixels: [B, depth, D]."""
        read = torch.cat([self.start(len(clip)), self.tokens_of(clip)[:, :-1]], dim=1)
        out = self.gpt(read, output_hidden_states=True, use_cache=False)
        inner = [
            block.ln_1(x).mean(1) for block, x in zip(self.blocks[1:], out.hidden_states[1:-1], strict=True)
        ]
        return torch.stack([*inner, out.last_hidden_state.mean(1)], dim=1)

    def set_palette(self, palette: Tensor) -> None:
        """Takes over colours, [colours, 3] in 0..255."""
        self.palette.copy_(palette.round())

    def tokens_of(self, clip: Tensor) -> Tensor:
        """Each pixel's nearest colour: pictures [B, 3, (1,) H, W], normalised -> int64 [B, H * W].

        Raises:
            InputError: they are of another size, or the colours are not set.
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
        """The token that comes first: int64 [count, 1]."""
        device = self.palette.device
        return torch.full((count, 1), len(self.palette), dtype=torch.int64, device=device)

    def states(self, tokens: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """A layer's features and the last one's, [B, N, D] each, of colours int64 [B, N].

        Features come through the norm that follows them in the network (iGPT: n^l = norm(h^l)).
        """
        read = torch.cat([self.start(len(tokens)), tokens[:, :-1]], dim=1)
        wants_middle = layer < self.depth
        out = self.gpt(read, output_hidden_states=wants_middle, use_cache=False)
        last = out.last_hidden_state
        return (self.blocks[layer].ln_1(out.hidden_states[layer]) if wants_middle else last), last

    def loss_of(self, last: Tensor, tokens: Tensor) -> Tensor:
        """The mean cross-entropy in nats a pixel, of the last layer's features [B, N, D]."""
        return F.cross_entropy(self.head(last).float().flatten(0, 1), tokens.flatten())

    def tokens_and_loss(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """What ``forward`` returns, and the loss of the next colour, in one pass."""
        tokens = self.tokens_of(clip)
        features, last = self.states(tokens, self.layer)
        return features, self.loss_of(last, tokens)

    def forward(self, clip: Tensor) -> Tensor:
        """Features [B, H * W, D] of ``layer``, of pictures [B, 3, (1,) H, W]."""
        return self.states(self.tokens_of(clip), self.layer)[0]

    @torch.no_grad()
    def complete(
        self, tokens: Tensor, hidden: Tensor, temperature: float, generator: torch.Generator
    ) -> Tensor:
        """Draws what is hidden, pixel by pixel, each given all before it.

        Args:
            tokens: int64 [B, N]; hidden ones are never read.
            hidden: bool [B, N].
            temperature: logits are divided by it.
        """
        require("transformers", "compare")
        from transformers import DynamicCache

        tokens = tokens.masked_fill(hidden, 0)
        if not hidden.any():
            return tokens
        first = int(hidden.any(0).nonzero()[0])
        cache: Any = DynamicCache()
        read = torch.cat([self.start(len(tokens)), tokens[:, :first]], dim=1)
        for i in range(first, tokens.shape[1]):
            # the cache's name in the signature has changed over transformers' versions, its place has not
            last = self.gpt(read, cache, use_cache=True).last_hidden_state[:, -1]
            chances = (self.head(last).float() / temperature).softmax(1)
            drawn = torch.multinomial(chances, 1, generator=generator)  # [B, 1]
            read = torch.where(hidden[:, i : i + 1], drawn, tokens[:, i : i + 1])
            tokens[:, i : i + 1] = read
        return tokens


class IGPT(nn.Module, Pretrained):
    """iGPT's pre-training: the loss of the next pixel's colour.

    Args:
        image_size, num_frames, patch, mean, std: see :class:`PixelGPT`, which also says what is raised.
        encoder: further arguments of it.
    """

    def __init__(
        self,
        image_size: Sequence[int] = (32, 32),
        num_frames: int = 1,
        patch: Sequence[int] = (1, 4, 4),
        encoder: dict[str, Any] | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        arguments = {**(encoder or {}), "mean": mean, "std": std}
        self.encoder = PixelGPT(image_size, num_frames, patch, **arguments)
        self.mean, self.std = tuple(mean), tuple(std)

    @property
    def patch(self) -> Triple:
        """What masks are counted in."""
        return self.encoder.patch

    def noise_shape(self, clip: Tensor, mask: Mask) -> tuple[int, ...]:
        """None is needed."""
        return (0,)

    def recognition_part(self) -> PixelGPT:
        """All of it."""
        return self.encoder

    def encode(self, clip: Tensor) -> Tensor:
        """Features [B, H * W, D] of the encoder's ``layer``."""
        features: Tensor = self.encoder(clip)
        return features

    def forward(
        self,
        clip: Tensor,
        mask: Mask | None = None,
        t: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Output:
        """The loss of a batch, nats a pixel; the prediction is of logits [B, H * W, colours].

        Args:
            clip: float [B, 3, 1, H, W], normalised.
            mask, t, noise, generator: not used; so that one training loop serves all models.
        """
        tokens = self.encoder.tokens_of(clip)
        logits = self.encoder.head(self.encoder.states(tokens, self.encoder.depth)[1]).float()
        return Output(F.cross_entropy(logits.flatten(0, 1), tokens.flatten()), logits, None)

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0, temperature: float = 1.0) -> Inpainting:
        """Makes pictures up: [count, 3, 1, H, W], normalised, on the model's device."""
        length = math.prod(self.encoder.size)
        tokens = torch.zeros(count, length, dtype=torch.int64, device=self.encoder.palette.device)
        drawn = self._complete(tokens, torch.ones_like(tokens, dtype=torch.bool), seed, temperature)
        return Inpainting(self.encoder.pictures_of_tokens(drawn), None, [])

    @torch.no_grad()
    def inpaint(
        self,
        clip: Tensor,
        mask: Mask,
        sampler: str = "",
        steps: int = 0,
        seed: int = 0,
        return_steps: bool = False,
        temperature: float = 1.0,
        num_samples: int = 1,
    ) -> Inpainting:
        """Fills the masked patches of a picture, pixel by pixel in raster order.

        A pixel is drawn given those before it alone: with the lower half masked that is iGPT's completion;
        what is visible below a hole has no say in it.

        Args:
            clip: float [B, 3, 1, H, W], normalised; what stands in masked patches is never read.
            mask: what to fill.
            sampler, steps, return_steps: not used; so that the same call serves all models.
            seed: of the draws.
            temperature: logits are divided by it.
            num_samples: samples of each clip, side by side in the result's batch.
        """
        hidden = mask.to_pixels(self.patch).expand_as(clip)
        if num_samples > 1:
            clip, hidden = (x.repeat_interleave(num_samples, dim=0) for x in (clip, hidden))
        drawn = self._complete(self.encoder.tokens_of(clip), hidden[:, 0, 0].flatten(1), seed, temperature)
        filled = self.encoder.pictures_of_tokens(drawn).to(clip.dtype)
        return Inpainting(torch.where(hidden, filled, clip), None, [])

    def _complete(self, tokens: Tensor, hidden: Tensor, seed: int, temperature: float) -> Tensor:
        if temperature <= 0:
            raise InputError(f"the temperature is above 0, got {temperature}")
        generator = torch.Generator(tokens.device).manual_seed(seed)
        training = self.training
        self.eval()
        try:
            return self.encoder.complete(tokens, hidden, temperature, generator)
        finally:
            self.train(training)
