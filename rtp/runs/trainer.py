"""Settings of all runs, from the command line or a program."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L

from rtp.runs.lightning_internals import minibatches_done

TRAINER_DEFAULTS: dict[str, Any] = {
    "devices": 1,
    # networks are trained during evaluation, which tensors made in inference mode do not allow
    "inference_mode": False,
    "num_sanity_val_steps": 0,
    # val_check_interval counts outer steps, not epochs
    "check_val_every_n_epoch": None,
    "enable_model_summary": False,
}
"""Arguments of Lightning's Trainer that differ from its own defaults."""


def outer_steps(trainer: L.Trainer) -> int:
    """Outer steps finished before the current one: updates of the memory or, with manual optimisation, minibatches.

    With manual optimisation Lightning counts each of several updates of a minibatch as a step.
    """
    return trainer.global_step if trainer.lightning_module.automatic_optimization else minibatches_done(trainer)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's info messages and irrelevant warnings, but no others.

    The run folder exists before its checkpoints, and torch 2.15 deprecates what it and lightning 2.6 use.
    """
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of training batches .* is smaller than the logging interval")
        warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
        warnings.filterwarnings("ignore", r".*add the following callbacks: \['Timer'\]")  # max_time: null
        warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated")
        warnings.filterwarnings("ignore", ".torch.jit.script.* is deprecated")
        try:
            for logger in loggers:
                logger.setLevel(logging.WARNING)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
