"""What the commands print about the distillation of a memory."""

from collections.abc import Iterator

import lightning as L
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from rtp.callbacks import RetrainingEvaluation
from rtp.callbacks.best_checkpoint import BestCheckpoint
from rtp.evaluation.results import format_table
from rtp.modules import Distillation
from rtp.runs.folders import relative, run_folder


def distilling_line(module: Distillation, data: L.LightningDataModule, trainer: L.Trainer) -> str:
    """What will be distilled into what, and where."""
    memory, device = module.memory, trainer.strategy.root_device
    bases = f"{len(memory.bases)} bases of {'x'.join(map(str, memory.bases.shape[1:]))}"
    recalled_by = "shot" if memory.queried_by == "images" else "class"
    return (
        f"distilling {data.name} into {bases}, {memory.num_slots} images a {recalled_by}, "
        f"{memory.storage_floats:,} numbers of {memory.stored_as}, {memory.storage_bytes:,} bytes; on {device}; "
        f"run folder {relative(run_folder(trainer))}"
    )


def distilled_lines(trainer: L.Trainer, resumed_at: int | None) -> Iterator[str]:
    """The result of a fit and what to do next.

    Args:
        trainer: Of the run.
        resumed_at: Outer steps of the checkpoint that it was resumed from, None for a new run.
    """
    if _time_is_over(trainer):
        did = "nothing to do" if trainer.global_step == resumed_at else f"stopped after {trainer.global_step} steps"
        yield f"{did}: trainer.max_time is over; to go on, give --ckpt_path last and a longer one, or null"
    elif trainer.global_step == resumed_at:
        yield f"nothing to do: the run has all {resumed_at} steps; raise --trainer.max_steps"
    for rule in trainer.early_stopping_callbacks:
        if rule.stopping_reason != EarlyStoppingReason.NOT_STOPPED:
            reason = (rule.stopping_reason_message or "").replace(" Signaling Trainer to stop.", "")
            yield f"stopped after {trainer.global_step} steps: {reason}"
    best = next(c for c in trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint))
    if best.best_model_path:
        yield f"best validation accuracy {float(best.best_model_score or 0):.4f}"
        yield f"test it: rtp test --ckpt_path {relative(best.best_model_path)}"
        yield from where_to_look(trainer)


def _time_is_over(trainer: L.Trainer) -> bool:
    """Whether a run was stopped by its `max_time`, which counts the time before it was resumed, too."""
    timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
    left = [seconds for timer in timers if (seconds := timer.time_remaining()) is not None]
    return trainer.global_step != trainer.max_steps and min(left, default=1) <= 0


def measured_table(trainer: L.Trainer) -> Iterator[str]:
    """The table of what was measured last, if anything was, in the first of several processes."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, RetrainingEvaluation) and callback.results and trainer.is_global_zero:
            yield f"\n{format_table(callback.results)}\n"


def where_to_look(trainer: L.Trainer) -> Iterator[str]:
    """Where a run's pictures and curves are."""
    folder = run_folder(trainer)
    yield f"recalled images: {relative(folder / 'recalled.png')}"
    yield f"curves and pictures: tensorboard --logdir {relative(folder)}"
