"""Threads on free cores."""

import os
import sys

import pytest
import torch

from rtp.utils import cores as cores_module
from rtp.utils.cores import core_usage, kept_threads, use_free_cores


@pytest.mark.parametrize(
    ("busy", "cores", "threads", "free"),
    [(1.9, 2, 2, 1), (1.0, 2, 2, 1), (5.8, 8, 4, 2), (0.4, 2, 2, None), (4.0, 8, 4, None), (2.0, 2, 1, None)],
)
@pytest.mark.parametrize("given", [None, "4"])
def test_threads_that_find_no_core_are_not_used(
    busy: float,
    cores: int,
    threads: int,
    free: int | None,
    given: str | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    used: list[int] = []
    monkeypatch.setattr(cores_module, "core_usage", lambda: (busy, cores))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    if given is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    use_free_cores()
    lines = [record.getMessage() for record in caplog.records]
    if free is None:
        assert (used, lines) == ([], [])
    elif given is None:
        assert used == [free]
        assert lines == [
            f"other programs keep {busy} of {cores} cores busy: this one uses {free} of {threads} threads "
            "(set OMP_NUM_THREADS to choose)"
        ]
    else:
        assert used == []  # the user's choice
        assert f"OMP_NUM_THREADS=4: set it to {free}, or threads wait" in lines[0]


def test_usage_is_the_share_of_ticks_that_were_not_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([(100, 1000, 4), (130, 1040, 4)])
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(cores_module, "_cpu_times", lambda: next(readings))
    assert core_usage(0) == (1.0, 4)  # 30 of 40 ticks were idle, so one core of four was busy
    monkeypatch.setattr(sys, "platform", "darwin")
    assert core_usage(0) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc/stat")
def test_usage_of_this_machine() -> None:
    usage = core_usage(0.05)
    assert usage is not None
    busy, cores = usage
    assert 0 <= busy <= cores
    assert cores >= (os.cpu_count() or 1)


def test_threads_are_set_back() -> None:
    before = torch.get_num_threads()
    with kept_threads():
        torch.set_num_threads(before + 1)
    assert torch.get_num_threads() == before
