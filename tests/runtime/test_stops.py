"""Signals that ask to stop, and readers that do not hear them."""

import os
import signal

import pytest
import torch
from torch.utils.data import DataLoader

from diffmae_video.runtime.processes import Process
from diffmae_video.runtime.stops import (
    SIGNALS,
    Agreement,
    RunEnded,
    StopSignals,
    end_run,
    lost_peers,
    shielded_batches,
)

ALONE = Process(0, 1, torch.device("cpu"))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_remembered_and_all_is_as_before_afterwards(number):
    before = signal.getsignal(number)
    with StopSignals() as signals:
        assert not signals.seen
        os.kill(os.getpid(), number)
        assert signals.seen
    assert signal.getsignal(number) == before


def test_a_process_that_is_alone_acts_at_once():
    with StopSignals() as signals:
        agreement = Agreement(ALONE, 1.0, lambda: (signals.seen, False))
        agreement.ask()
        assert agreement.answer() == [False, False]
        agreement.ask()
        os.kill(os.getpid(), SIGNALS[0])
        assert agreement.answer() == [True, False]


def test_readers_outlive_the_signals_and_not_their_loop():
    with shielded_batches(DataLoader(range(1000), num_workers=1)) as batches:
        next(batches)
        reader = batches._workers[0]
        for number in SIGNALS:
            os.kill(reader.pid, number)
        assert [int(next(batches)) for _ in range(20)] == list(range(1, 21))
        assert reader.is_alive()
    reader.join(10)
    assert not reader.is_alive()


def test_a_lost_peer_is_one_line_and_other_errors_are_theirs(capsys):
    with pytest.raises(RunEnded) as ended, lost_peers(ALONE):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:545]\nConnection closed by peer")
    assert ended.value.code == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    with pytest.raises(RuntimeError, match="shapes"), lost_peers(ALONE):
        raise RuntimeError("shapes do not fit")


def test_only_the_main_process_tells_the_end(capsys):
    assert end_run(Process(1, 2, torch.device("cpu")), "why", 75).code == 75
    assert capsys.readouterr().err == ""
    end_run(ALONE, "why", 75)
    assert capsys.readouterr().err == "why\n"
