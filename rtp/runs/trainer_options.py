"""The Trainer's options: values that Lightning takes without a word and that train nothing are refused."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from rtp.errors import UserError

LEAST = {
    "accumulate_grad_batches": 1,
    "gradient_clip_val": 0,
    "limit_train_batches": 0,
    "log_every_n_steps": 0,
    "num_nodes": 1,
}
"""Smallest value of an option; a fraction of batches, `limit_train_batches`, has to be above it."""
UNLIMITED = -1
"""Lightning's value of `max_steps` and `max_epochs` for a run without end."""


def check_trainer_options(options: Mapping[str, Any]) -> None:
    """Refuse values with which nothing would be trained, validated or kept.

    Args:
        options: The Trainer's arguments by name; those that are missing or None have Lightning's defaults.

    Raises:
        UserError: For the first one.
    """
    for name, least in LEAST.items():
        value = options.get(name)
        if isinstance(value, (int, float)) and not (value > 0 if name == "limit_train_batches" else value >= least):
            raise UserError(f"trainer.{name} is {value}: give {least} or more, or leave it out")
    for name, least in (("max_steps", 0), ("max_epochs", 1)):  # a run of no steps keeps the initial memory
        value = options.get(name)
        if value is not None and value != UNLIMITED and not value >= least:
            raise UserError(f"trainer.{name} is {value}: give at least {least}, or {UNLIMITED} for no limit")
    interval = options.get("val_check_interval")
    in_steps = options.get("check_val_every_n_epoch") is None
    if in_steps and isinstance(interval, (int, float)) and not (interval > 0 and float(interval).is_integer()):
        raise UserError(f"trainer.val_check_interval is {interval}: give a number of outer steps, such as 100")
    check_precision(options.get("precision"))
    if options.get("enable_checkpointing") is False:
        raise UserError(
            "trainer.enable_checkpointing is false, but best.ckpt is the result of a run: leave it out; "
            "--checkpoint.every_n_steps says how often last.ckpt is written"
        )


def check_precision(precision: object) -> None:
    """Refuse a precision of the Trainer that is not float32.

    Lightning's autocast would round inside of the inner loop, where engines differentiate their own step, and float64
    or half-precision weights do not go with a data set's float32 images.

    Args:
        precision: As Lightning's Trainer takes and shows it; None for its default.

    Raises:
        UserError: If it is not float32.
    """
    if precision is not None and str(precision) not in ("32-true", "32"):
        raise UserError(
            f"trainer.precision is {precision}: leave it out, as memories and weights are float32; unroll.precision "
            "bf16 makes StepwiseUnroll's inner loop faster, and --tf32 true all products of a GPU"
        )


def check_callbacks(callbacks: Iterable[object]) -> None:
    """Refuse two of one kind of rtp's own callbacks: networks would be retrained twice.

    Lightning itself refuses those that keep a state, and no others.

    Raises:
        UserError: For the first kind.
    """
    own = [type(callback) for callback in callbacks if type(callback).__module__.startswith("rtp.")]
    twice = next((kind.__name__ for kind, count in Counter(own).items() if count > 1), None)
    if twice is not None:
        raise UserError(
            f"the run has {twice} twice: name it once in trainer.callbacks, and not where rtp adds it itself, with the "
            "options of `evaluation`, `pictures` and `checkpoint`"
        )


def interval_within(options: Mapping[str, Any]) -> int | None:
    """A validation interval for a run that would end before its first validation, which chooses best.ckpt.

    Args:
        options: As in `check_trainer_options`.

    Returns:
        The number of batches of the whole run; None if it is validated as it is.
    """
    steps, interval = options.get("max_steps"), options.get("val_check_interval")
    by_epochs = options.get("check_val_every_n_epoch") is not None or options.get("fast_dev_run")
    if by_epochs or not isinstance(interval, (int, float)) or steps in (None, UNLIMITED, 0):
        return None
    batches = int(steps * (options.get("accumulate_grad_batches") or 1))
    return batches if batches < interval and options.get("limit_val_batches") != 0 else None
