"""Attentive probe: a small transformer head that is trained on frozen patch tokens (V-JEPA)."""

import math

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from torch import Tensor, nn

from diffmae_video.models.layers import CrossAttention, initialize_linear
from diffmae_video.randomness import random_state
from diffmae_video.runtime.progress import ProgressBar

# Our choice, after V-JEPA.
EPOCHS, BATCH = 20, 64
SMALL_EPOCHS, SMALL_STEPS = 200, 1000  # small lists train for longer, up to the first of these limits
LEARNING_RATE, WEIGHT_DECAY, WARMUP = 1e-3, 0.01, 0.1


class AttentiveProbe(nn.Module):
    """A learned query attends to all tokens; an MLP and a linear head follow.

    Attention and MLP are residual and pre-norm. Attention heads are 64 wide, or as wide as the next number
    of heads that divides the width (our choice).

    Args:
        width: D, of the tokens.
        classes: the number of logits.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        heads = next(n for n in range(max(1, width // 64), 0, -1) if width % n == 0)
        self.norm1 = nn.LayerNorm(width)
        self.attention = CrossAttention(width, width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width)
        self.head = nn.Linear(width, classes)
        self.apply(initialize_linear)
        self.query = nn.Parameter(torch.empty(1, 1, width).normal_(std=0.02))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, D] -> logits [B, classes]."""
        keys_values = self.attention.keys_values(self.norm1(tokens))
        query = self.query.expand(len(tokens), -1, -1)
        query = query + self.attention(query, keys_values)  # [B, 1, D]
        query = query + self.mlp(self.norm2(query))
        return self.head(query[:, 0])


def attentive_probe(
    train_x: Tensor,
    train_y: Tensor,
    val_x: Tensor,
    val_y: Tensor,
    steps: int | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> float:
    """The accuracy on ``val`` of an :class:`AttentiveProbe` that is trained on ``train``.

    AdamW, with batches of 64, a peak learning rate of 1e-3 and a weight decay of 0.01. The rate warms up
    over a tenth of the steps and then follows a cosine.

    Args:
        train_x, val_x: float tokens [n, N, D] and [m, N, D]; they go to the device batch by batch.
        train_y, val_y: int64 [n] and [m], from 0.
        steps: None takes those of :func:`probe_steps`.
        seed: for the weights and the order of the batches.
        device: where the probe is trained.
    """
    count, classes = len(train_x), int(torch.cat([train_y, val_y]).max()) + 1
    steps = steps or probe_steps(count)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AttentiveProbe(train_x.shape[2], classes).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
    generator, order = random_state(seed), torch.empty(0, dtype=torch.int64)
    for _ in ProgressBar(range(steps), desc="attentive probe", unit=" steps"):
        if len(order) < min(BATCH, count):
            order = torch.randperm(count, generator=generator)
        rows, order = order[:BATCH], order[BATCH:]
        loss = F.cross_entropy(model(train_x[rows].to(device)), train_y[rows].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        predicted = torch.cat([model(part.to(device)).argmax(1).cpu() for part in val_x.split(BATCH)])
    return float((predicted == val_y.cpu()).double().mean())


def probe_steps(count: int) -> int:
    """How many steps to train on ``count`` videos: 20 epochs, and more for small lists (our choice).

    From 3,200 videos on 20 epochs take 1,000 steps or more. Fewer videos are trained on for up to 1,000
    steps, but never for more than 200 epochs.
    """
    batches = max(1.0, count / BATCH)  # of an epoch
    return max(math.ceil(EPOCHS * batches), min(SMALL_STEPS, math.ceil(SMALL_EPOCHS * batches)))


def _rate(progress: float) -> float:
    """The share of the peak learning rate after a share of the steps."""
    if progress < WARMUP:
        return progress / WARMUP
    return (1 + math.cos(math.pi * (progress - WARMUP) / (1 - WARMUP))) / 2
