"""Sums of seconds, on a clock of the test's own."""

import pytest

from rtp.utils.stopwatch import Stopwatch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [50.0]
    monkeypatch.setattr("rtp.utils.stopwatch.time.perf_counter", lambda: now[0])
    return now


def test_it_sums_the_time_between_starts_and_stops(clock: list[float]) -> None:
    watch = Stopwatch(10)
    clock[0] += 100  # not started
    assert watch.seconds == 10
    watch.start()
    clock[0] += 2
    assert watch.seconds == 12  # while it goes
    watch.start()
    clock[0] += 3
    watch.stop()
    clock[0] += 100
    watch.stop()
    assert watch.seconds == 15
    watch.start()
    clock[0] += 1
    watch.stop()
    assert watch.seconds == 16


def test_what_is_not_known_at_the_beginning_stays_unknown(clock: list[float]) -> None:
    watch = Stopwatch(None)
    watch.start()
    clock[0] += 1
    assert watch.seconds is None
    watch.stop()
    assert watch.seconds is None
