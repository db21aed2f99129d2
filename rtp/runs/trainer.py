"""What all runs have in common, whether they are started from the command line or from a program."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L

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
    """Steps that a run has done: updates of the memory or, where a module optimises by hand, minibatches.

    Such a module may update several times for a minibatch, and Lightning counts each of them as a step. During a step,
    it is the number of those before.

    Args:
        trainer: The run's.
    """
    if trainer.lightning_module.automatic_optimization:
        return trainer.global_step
    return int(trainer.fit_loop.epoch_loop.batch_progress.total.processed)  # type: ignore[attr-defined]


@contextmanager
def without_remarks() -> Iterator[None]:
    """Leave out what Lightning says of the machine and of other products; what it warns of is kept.

    Less what means nothing here: the run folder is made before its checkpoints, and torch 2.15 deprecates what it and
    lightning 2.6 use.
    """
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
        warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated")
        warnings.filterwarnings("ignore", ".torch.jit.script.* is deprecated")
        try:
            for logger in loggers:
                logger.setLevel(logging.WARNING)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
