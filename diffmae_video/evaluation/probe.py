"""How well classes can be told by frozen features: a linear probe, an attentive one, and neighbours.

The probes are functions of plain tensors. Labels are int64, from 0; accuracies are from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from fvcore.common.config import CfgNode
from timm.layers import Mlp
from torch import Tensor, nn

from diffmae_video.data import Entry, class_indices, class_names, read_list
from diffmae_video.errors import InputError
from diffmae_video.evaluation.features import Features, extract_features, load_frozen
from diffmae_video.models import PixelGPT
from diffmae_video.models.layers import CrossAttention, initialize_linear
from diffmae_video.randomness import random_state
from diffmae_video.runtime.progress import ProgressBar

KINDS = ("linear", "attentive", "knn")
NEIGHBOURS = 20  # and the temperature of their votes (DINO)
TEMPERATURE = 0.07
ROWS = 1024  # whose neighbours are looked for at once, for memory's sake
PENALTIES = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
LAYER_ENTRIES = 10000
ITERATIONS = 2000  # of L-BFGS, at most
# Of the attentive probe's training (our choice, after V-JEPA).
EPOCHS, LEAST_STEPS, BATCH = 20, 1000, 64
LEARNING_RATE, WEIGHT_DECAY, WARMUP = 1e-3, 0.01, 0.1


def probe(
    checkpoint: str | Path, options: Sequence[Any] = (), kinds: Sequence[str] = KINDS
) -> dict[str, float]:
    """The accuracies on DATA.VAL of probes that are trained on DATA.TRAIN, one view of each video.

    Args:
        checkpoint, options: see :func:`~diffmae_video.evaluation.features.load_frozen`.
        kinds: of :data:`KINDS`.

    Returns:
        An accuracy by kind; ``classes``; ``train`` and ``val``, the videos that were read; ``dim``, the
        features' width; of iGPT the ``layer`` that they are of.

    Raises:
        InputError: a list is not given, cannot be read or lacks labels, or one of VAL is none of TRAIN's;
            see also :func:`~diffmae_video.evaluation.features.extract_features`.
    """
    model, cfg = load_frozen(checkpoint, options)
    lists = {}
    for key in ("TRAIN", "VAL"):
        if not cfg.DATA[key]:
            raise InputError(f"DATA.{key}: give a labelled list, say DATA.{key} {key.lower()}.csv")
        lists[key] = read_list(cfg.DATA[key], cfg.DATA.ROOT, images=cfg.DATA.NUM_FRAMES == 1)
    if cfg.FINETUNE.MULTI_LABEL:
        raise InputError("FINETUNE.MULTI_LABEL: a probe takes one label of a video; set it to False")
    names = class_names(lists["TRAIN"])
    class_indices(lists["VAL"], names)  # a label that is unknown is told now

    def look_at(key: str) -> tuple[Features, Tensor]:
        batch, keep_tokens = cfg.EVALUATION.BATCH_SIZE, "attentive" in kinds
        found = extract_features(model, cfg, lists[key], batch=batch, keep_tokens=keep_tokens)
        return found, torch.tensor(class_indices(found.entries, names))

    if isinstance(model, PixelGPT) and not cfg.MODEL.IGPT.LAYER:
        model.set_layer(best_layer(model, cfg, lists["TRAIN"], names))
    (train, train_y), (val, val_y) = look_at("TRAIN"), look_at("VAL")
    device, seed = next(model.parameters()).device, cfg.TRAIN.SEED
    pooled = (train.pooled.to(device), train_y.to(device), val.pooled.to(device), val_y.to(device))
    figures: dict[str, float] = {}
    if isinstance(model, PixelGPT):
        figures["layer"] = model.layer
    if "linear" in kinds:
        figures["linear"] = linear_probe(*pooled, seed=seed)
    if "attentive" in kinds:
        assert train.tokens is not None
        assert val.tokens is not None
        figures["attentive"] = attentive_probe(
            train.tokens, train_y, val.tokens, val_y, seed=seed, device=device
        )
    if "knn" in kinds:
        figures["knn"] = knn_probe(*pooled)
    return figures | {
        "classes": len(names),
        "train": len(train_y),
        "val": len(val_y),
        "dim": train.pooled.shape[1],
    }


def best_layer(model: PixelGPT, cfg: CfgNode, entries: Sequence[Entry], names: Sequence[str]) -> int:
    """The layer of iGPT whose features tell a held-out fifth of labelled entries best, by neighbours.

    Of equals the lowest. At most :data:`LAYER_ENTRIES` entries count, spread evenly (our choice).

    Args:
        names: of the classes.
    """
    places = np.linspace(0, len(entries) - 1, min(LAYER_ENTRIES, len(entries))).round().astype(int)
    chosen = [entries[i] for i in places]
    layers = AllLayers(model)
    found = extract_features(layers, cfg, chosen, batch=cfg.EVALUATION.BATCH_SIZE, keep_tokens=True)
    assert found.tokens is not None
    labels = torch.tensor(class_indices(found.entries, names))
    held_out = held_out_fifth(labels, cfg.TRAIN.SEED)
    accuracies = [
        knn_probe(x[~held_out], labels[~held_out], x[held_out], labels[held_out])
        for x in found.tokens.unbind(1)
    ]
    return 1 + int(np.argmax(accuracies))


class AllLayers(nn.Module):
    """iGPT with a layer's pooled features in the place of each token: [B, depth, D]."""

    def __init__(self, gpt: PixelGPT) -> None:
        super().__init__()
        self.gpt = gpt

    def forward(self, clip: Tensor) -> Tensor:
        return self.gpt.pooled_layers(clip)


def knn_probe(
    train_x: Tensor, train_y: Tensor, val_x: Tensor, val_y: Tensor, left_out: Tensor | None = None
) -> float:
    """The share of ``val`` whose class their nearest neighbours in ``train`` vote for.

    Cosine similarity s, and votes of exp(s / .07) from 20 neighbours (Wu et al. 2018; values: DINO).

    Args:
        train_x, val_x: float [n, D] and [m, D].
        train_y, val_y: int64 [n] and [m].
        left_out: bool [m, n], neighbours that have no vote, say those of the same video.
    """
    train, val = F.normalize(train_x, dim=1), F.normalize(val_x, dim=1)
    right = 0
    for rows in torch.arange(len(val), device=val.device).split(ROWS):
        similarity = val[rows] @ train.T
        if left_out is not None:
            similarity = similarity.masked_fill(left_out[rows], -torch.inf)
        nearest = similarity.topk(min(NEIGHBOURS, len(train)), dim=1)
        votes = torch.zeros(len(rows), int(train_y.max()) + 1, device=val.device)
        votes.scatter_add_(1, train_y[nearest.indices], (nearest.values / TEMPERATURE).exp())
        right += int((votes.argmax(1) == val_y[rows]).sum())
    return right / len(val)


def linear_probe(
    train_x: Tensor,
    train_y: Tensor,
    val_x: Tensor,
    val_y: Tensor,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> float:
    """The accuracy of a linear classifier that is trained to convergence.

    Features are standardised by the mean and variance of ``train``: a batch norm without scale and shift,
    as in MAE's linear probe. The penalty is the one that gets most right of a fifth of ``train``, each
    class's, that is held out for it, and of equals the one with the least cross-entropy (our choice);
    ``val`` has no part in it.

    Args:
        train_x, val_x: float [n, D] and [m, D].
        train_y, val_y: int64 [n] and [m].
        penalties: see :func:`fit_logistic`.
        seed: of the fifth.
    """
    classes = int(torch.cat([train_y, val_y]).max()) + 1
    train_x, val_x = train_x.double(), val_x.double()
    variance, mean = torch.var_mean(train_x, dim=0, correction=0)
    train_x, val_x = ((x - mean) / (variance + 1e-6).sqrt() for x in (train_x, val_x))

    held_out = held_out_fifth(train_y, seed)

    def cost(penalty: float) -> tuple[int, float]:
        fitted = fit_logistic(train_x[~held_out], train_y[~held_out], penalty, classes)
        logits, labels = F.linear(train_x[held_out], *fitted), train_y[held_out]
        return int((logits.argmax(1) != labels).sum()), float(F.cross_entropy(logits, labels))

    weight, bias = fit_logistic(train_x, train_y, min(penalties, key=cost), classes)
    predicted = F.linear(val_x, weight, bias).argmax(1)
    return float((predicted == val_y).double().mean())


def held_out_fifth(labels: Tensor, seed: int) -> Tensor:
    """Which fifth of the rows, and of each class, is held out: bool [n]; at random, by the seed."""
    order = torch.randperm(len(labels), generator=random_state(seed)).to(labels.device)
    order = order[labels[order].argsort(stable=True)]
    held_out = torch.zeros_like(labels, dtype=torch.bool)
    held_out[order[2::5]] = True
    return held_out


def fit_logistic(x: Tensor, y: Tensor, penalty: float, classes: int) -> tuple[Tensor, Tensor]:
    """The weights [classes, D] and biases [classes] of multinomial logistic regression, by L-BFGS.

    They minimise the mean cross-entropy + penalty / 2 * |weights|^2; scikit-learn's
    ``LogisticRegression`` does with C = 1 / (n * penalty).

    Args:
        x: float64 [n, D].
        y: int64 [n].
        penalty: above 0.
    """
    weight = torch.zeros(classes, x.shape[1], dtype=x.dtype, device=x.device, requires_grad=True)
    bias = torch.zeros(classes, dtype=x.dtype, device=x.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=ITERATIONS,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(F.linear(x, weight, bias), y) + penalty / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()


class AttentiveProbe(nn.Module):
    """A learned query attends to all tokens, an MLP follows, then a linear head (V-JEPA).

    Both are residual and pre-norm. Heads are 64 wide, or the next that divide the width (our choice).

    Args:
        width: of the tokens.
        classes: number of logits.
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
        logits: Tensor = self.head(query[:, 0])
        return logits


def attentive_probe(
    train_x: Tensor,
    train_y: Tensor,
    val_x: Tensor,
    val_y: Tensor,
    steps: int | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> float:
    """The accuracy of an :class:`AttentiveProbe`, trained by AdamW with a warm-up and a cosine.

    Batches of 64; a learning rate of up to 1e-3, a weight decay of 0.01; the warm-up takes a tenth.

    Args:
        train_x, val_x: float tokens [n, N, D] and [m, N, D]; a batch at a time goes to the device.
        train_y, val_y: int64 [n] and [m].
        steps: by default 20 epochs, and 1,000 steps or more.
        seed: of the weights and the order.
        device: where the probe is trained.
    """
    count, classes = len(train_x), int(torch.cat([train_y, val_y]).max()) + 1
    steps = steps or max(LEAST_STEPS, math.ceil(EPOCHS * count / BATCH))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AttentiveProbe(train_x.shape[2], classes).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
    chance, order = random_state(seed), torch.empty(0, dtype=torch.int64)
    for _ in ProgressBar(range(steps), desc="attentive probe", unit=" steps"):
        if len(order) < min(BATCH, count):
            order = torch.randperm(count, generator=chance)
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


def _rate(done: float) -> float:
    """The share of the learning rate when a share of the steps is done."""
    if done < WARMUP:
        return done / WARMUP
    return (1 + math.cos(math.pi * (done - WARMUP) / (1 - WARMUP))) / 2
