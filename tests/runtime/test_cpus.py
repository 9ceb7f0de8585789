"""The number of reading processes by default."""

import pytest
import torch

from diffmae_video.runtime import cpus
from diffmae_video.runtime.cpus import cpu_share, resolve_workers

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Sets the CPUs that this process may use, those of all processes by host, and the container's quota."""

    def set_up(own, everyone=(), quota="max 100000"):
        monkeypatch.setattr(cpus, "usable_cpus", lambda: list(own))
        monkeypatch.setattr(cpus.socket, "gethostname", lambda: "here")
        (tmp_path / "cpu.max").write_text(quota)
        monkeypatch.setattr(cpus, "QUOTA", tmp_path / "cpu.max")
        if everyone:
            monkeypatch.setattr(cpus.dist, "is_initialized", lambda: True)
            monkeypatch.setattr(cpus.dist, "get_world_size", lambda: len(everyone))
            gather = lambda target, _: target.__setitem__(slice(None), everyone)  # noqa: E731
            monkeypatch.setattr(cpus.dist, "all_gather_object", gather)

    return set_up


def test_processes_that_share_all_cpus_divide_them(machine):
    machine(range(96), [("here", list(range(96)))] * 8 + [("there", list(range(96)))] * 8)
    assert cpu_share() == pytest.approx(12)
    assert resolve_workers(-1, GPU) == 11


def test_bound_processes_keep_their_own(machine):
    bound = [("here", list(range(12 * rank, 12 * rank + 12))) for rank in range(8)]
    machine(range(12), bound)
    assert cpu_share() == pytest.approx(12)


def test_a_container_has_no_more_than_its_quota(machine):
    machine(range(64), quota="600000 100000")
    assert cpu_share() == 6
    machine(range(64), [("here", list(range(64)))] * 2, quota="600000 100000")
    assert cpu_share() == 3


@pytest.mark.parametrize(("count", "device", "workers"), [(1, GPU, 1), (200, GPU, 32), (64, CPU, 4)])
def test_at_least_one_and_not_too_many(machine, count, device, workers):
    machine(range(count))
    assert resolve_workers(-1, device) == workers


def test_a_number_that_is_given_stays(machine):
    machine(range(64))
    assert [resolve_workers(n, GPU) for n in (0, 7, 50)] == [0, 7, 50]
