"""Inner loops that grow over outer steps: short ones are cheap, and the start needs no more."""

from dataclasses import dataclass, is_dataclass, replace

from rtp.errors import UserError
from rtp.modules.unroll.base import Unroll
from rtp.modules.unroll.stepwise import StepwiseUnroll
from rtp.utils.checks import check_at_least


@dataclass(frozen=True)
class Growth:
    """Lets the number of inner steps T, or the size of the window W, grow linearly to the engine's own.

    In outer step s = 0, 1, ... it is first + round((last - first) min(1, s / outer_steps)). A deviation from the paper,
    whose T is the same in all steps. A growing window is one of AT-BPTT's (NeurIPS 2025).

    Args:
        outer_steps: Outer steps, at least 1, until the engine's own number is reached.
        first_num_steps: T in the first outer step; null for the engine's own.
        first_window: W in the first outer step; null for the engine's own.

    Raises:
        UserError: If `outer_steps` is below 1, or nothing grows.
    """

    outer_steps: int
    first_num_steps: int | None = None
    first_window: int | None = None

    def __post_init__(self) -> None:
        check_at_least("outer_steps", self.outer_steps, 1)
        if self.first_num_steps is None and self.first_window is None:
            raise UserError("growth has neither first_num_steps nor first_window: give one of them, or leave it out")

    def at(self, unroll: Unroll, step: int) -> Unroll:
        """The engine of an outer step, counted from 0.

        Raises:
            UserError: If a first number is above the engine's own, the engine has no window to grow, or a window is
                longer than the loop.
        """
        if not is_dataclass(unroll):
            raise UserError(f"growth needs an engine that is a dataclass, and {type(unroll).__name__} is none")
        if self.first_num_steps is not None:
            last = unroll.num_steps
            unroll = replace(unroll, num_steps=self._between("first_num_steps", self.first_num_steps, last, step))
        if self.first_window is not None:
            if not isinstance(unroll, StepwiseUnroll) or unroll.window is None:
                raise UserError("growth.first_window needs StepwiseUnroll with a window: set model.unroll.window")
            size = self._between("first_window", self.first_window, unroll.window.size, step)
            unroll = replace(unroll, window=replace(unroll.window, size=size))
        return unroll

    def _between(self, name: str, first: int, last: int, step: int) -> int:
        if not 1 <= first <= last:
            raise UserError(f"growth.{name} must be in 1 to {last}, the engine's own, and is {first}")
        return first + round((last - first) * min(1, step / self.outer_steps))
