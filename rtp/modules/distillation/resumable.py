"""The base of all LightningModules of rtp: a resumed run equals an uninterrupted one."""

from typing import Any

import lightning as L
import torch
from torch import Tensor

from rtp.errors import DivergenceError, UserError
from rtp.runs.lightning_internals import attached_trainer
from rtp.runs.trainer import outer_steps
from rtp.runs.trainer_options import check_precision
from rtp.utils.seeds import derived_seed, seed_generators

SEED_KEY = "rtp_seed"
"""Where a checkpoint holds the seed of its run."""


class ResumableModule(L.LightningModule):
    """Seeds each step by the run's seed (torch's when training starts), the batch's number and the process's rank.

    So a resumed run draws the same numbers as an uninterrupted one, and the processes of a run draw different ones.

    Attributes:
        trained_steps: Steps of the checkpoint that the module was loaded from; 0 for a new one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trained_steps = 0
        self._seed: int | None = None

    @property
    def is_new(self) -> bool:
        """Whether the run starts anew; a resumed run has the seed of its checkpoint."""
        return self._seed is None

    def setup(self, stage: str) -> None:
        """Refuse a Trainer that does not compute in float32.

        Raises:
            UserError: See `check_precision`.
        """
        check_precision(self.trainer.precision)

    def on_train_start(self) -> None:
        """Set the seed of a new run; a resumed one restores it from its checkpoint."""
        if self.is_new:
            self._seed = self.trainer.strategy.broadcast(torch.initial_seed())

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the step; `batch_idx` restarts from 0 in every epoch."""
        assert self._seed is not None  # training has started
        seed_generators(derived_seed(self._seed, self.trainer.fit_loop.total_batch_idx, self.global_rank))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the run's seed, the only random state that outlives a step, and the number of steps."""
        checkpoint[SEED_KEY] = self._seed
        checkpoint["global_step"] = self._steps_done

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the run's seed and the number of steps; Lightning restores its own counter only in `fit`.

        Raises:
            UserError: If the checkpoint's tensors have other shapes.
        """
        theirs, ours = _shapes(checkpoint["state_dict"]), _shapes(self.state_dict())
        if theirs != ours:
            raise UserError(f"the checkpoint holds {theirs}, not {ours}: use the config.yaml of its run")
        self.trained_steps = checkpoint["global_step"]
        self._seed = checkpoint[SEED_KEY]

    def divergence(self, what: str) -> DivergenceError:
        """An error for NaN or infinite numbers; `what` says which, such as "the outer loss is nan"."""
        return DivergenceError(
            f"{what} at step {self._steps_done}: training stops and the checkpoints written so far are kept; "
            "lower the learning rate of the inner or the outer loop, or clip the gradient"
        )

    @property
    def _steps_done(self) -> int:
        trainer = attached_trainer(self)
        return 0 if trainer is None else outer_steps(trainer)


def _shapes(state: dict[str, Tensor]) -> str:
    return ", ".join(f"{name} of {'x'.join(map(str, tensor.shape))}" for name, tensor in state.items())
