"""Counts of operations and reads, and the profile."""

import pytest
import torch

from diffmae_video.benchmarks.counts import count_operations, count_reads, profile_kernels

CPU = torch.device("cpu")


def step():
    x = torch.ones(4, requires_grad=True)
    (x.view(2, 2) * 2).sum().backward()
    return float(x.grad[0])


def test_reads_of_values_are_counted():
    assert count_reads(step, CPU) == 1
    assert count_reads(lambda: torch.ones(3) + 1, CPU) == 0


def test_operations_of_the_backward_pass_count_and_views_do_not():
    x = torch.ones(4)
    assert count_operations(lambda: x + 1) == 1
    assert count_operations(lambda: x.view(2, 2)) == 0
    y = torch.ones(4, requires_grad=True)
    loss = (y * y).sum()
    assert count_operations(loss.backward) >= 2


def test_the_slowest_operation_comes_first():
    a = torch.ones(300, 300)
    total, kernels = profile_kernels(lambda: [a @ a for _ in range(5)], CPU)
    assert kernels[0]["name"] == "aten::mm"
    assert kernels[0]["calls"] == 5
    assert sum(kernel["share"] for kernel in kernels) == pytest.approx(1, abs=0.01)
    assert total["kernel_ms"] >= kernels[0]["ms"]
