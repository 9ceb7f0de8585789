"""Linear probe: multinomial logistic regression on standardised features, trained to convergence."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from diffmae_video.randomness import random_state

PENALTIES = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
MAX_ITERATIONS = 2000  # of L-BFGS


def linear_probe(
    train_x: Tensor,
    train_y: Tensor,
    val_x: Tensor,
    val_y: Tensor,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> float:
    """The accuracy of a linear classifier on ``val``.

    Features are standardised by the mean and variance of ``train``, like the batch norm without scale and
    shift in MAE's linear probe. The weight penalty is chosen on a fifth of ``train`` (of each class) that is
    held out: the one with the fewest errors, and among equals the lowest cross-entropy (our choice).
    ``val`` has no part in the choice.

    Args:
        train_x, val_x: float [n, D] and [m, D].
        train_y, val_y: int64 [n] and [m], from 0.
        penalties: see :func:`fit_logistic`.
        seed: for drawing the fifth.
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
    """Draws a fifth of the rows of each class: bool [n]."""
    order = torch.randperm(len(labels), generator=random_state(seed)).to(labels.device)
    order = order[labels[order].argsort(stable=True)]
    held_out = torch.zeros_like(labels, dtype=torch.bool)
    held_out[order[2::5]] = True
    return held_out


def fit_logistic(x: Tensor, y: Tensor, penalty: float, classes: int) -> tuple[Tensor, Tensor]:
    """Fits multinomial logistic regression by L-BFGS -> weights [classes, D], biases [classes].

    Minimises the mean cross-entropy + penalty / 2 * |weights|^2, as scikit-learn's
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
        max_iter=MAX_ITERATIONS,
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
