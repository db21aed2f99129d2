"""Seconds of wall-clock time, summed over stretches and over resumed runs."""

import time


class Stopwatch:
    """Sums the wall-clock seconds between starts and stops; it stands until it is started.

    Args:
        seconds: What to begin with, such as the seconds of a checkpoint; None if that is not known, and then the sum
            is not known either.
    """

    def __init__(self, seconds: float | None = 0.0) -> None:
        self._before = seconds
        self._started: float | None = None

    @property
    def seconds(self) -> float | None:
        """The sum, with the stretch that has not been stopped."""
        if self._before is None or self._started is None:
            return self._before
        return self._before + time.perf_counter() - self._started

    def start(self) -> None:
        """Go; nothing if it goes already."""
        if self._started is None:
            self._started = time.perf_counter()

    def stop(self) -> None:
        """Stand; nothing if it stands already."""
        self._before, self._started = self.seconds, None
