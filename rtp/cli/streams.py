"""The command line for streams of tasks: linked arguments and printed lines."""

import lightning as L
from lightning.pytorch.cli import LightningArgumentParser

from rtp.callbacks import RetainedAccuracy, RetrainingEvaluation
from rtp.datamodules import TaskStream
from rtp.errors import UserError
from rtp.modules import ContinualLearner
from rtp.runs.checkpoints import LAST
from rtp.runs.folders import relative, run_folder


def link_streams(parser: LightningArgumentParser) -> None:
    """Let a stream tell its learner the number of tasks and of outputs."""
    for function in (total_classes, num_tasks):
        name = f"model.init_args.{function.__name__}"
        parser.link_arguments("data", name, compute_fn=function, apply_on="instantiate")


def total_classes(data: L.LightningDataModule) -> int:
    """Outputs that a learner needs; 1 without a stream, which `is_stream` refuses for a learner."""
    return getattr(data, "total_classes", 1)


def num_tasks(data: L.LightningDataModule) -> int:
    """Tasks of a stream; 1 without one."""
    return getattr(data, "num_tasks", 1)


def is_stream(model: L.LightningModule, data: L.LightningDataModule) -> bool:
    """Whether a stream of tasks is learned.

    Raises:
        UserError: If only one of the module and the data module is for streams.
    """
    streaming = isinstance(model, ContinualLearner)
    if streaming != isinstance(data, TaskStream):
        model_name, data_name = type(model).__name__, type(data).__name__
        raise UserError(
            f"{model_name} learns a stream of tasks, but {data_name} is not one: use PermutedTasks, RotatedTasks or "
            f"IncrementalClasses with the source {data_name}"
            if streaming
            else f"{data_name} is a stream of tasks, but {model_name} does not learn streams: use "
            "CompressThenRecall, or the stream's source as data"
        )
    return streaming


def without_retraining(trainer: L.Trainer) -> None:
    """Remove the callback that evaluates a single memory; `RetainedAccuracy` evaluates the stream."""
    callbacks = [c for c in trainer.callbacks if not isinstance(c, RetrainingEvaluation)]  # type: ignore[attr-defined]
    trainer.callbacks = callbacks  # type: ignore[attr-defined]


def learning_line(learner: ContinualLearner, stream: TaskStream, trainer: L.Trainer) -> str:
    """What will be learned, by which method, and where."""
    return (
        f"learning {stream.num_tasks} tasks of {stream.name} with {type(learner).__name__}, storage budget "
        f"{learner.budget_bytes:,} bytes; on {trainer.strategy.root_device}; "
        f"run folder {relative(run_folder(trainer))}"
    )


def learned_lines(trainer: L.Trainer) -> str:
    """The result of a run and what to do next."""
    folder = run_folder(trainer)
    lines = [
        f"retained accuracy {sum(accuracies) / len(accuracies):.4f} on validation images of {len(accuracies)} tasks"
        for accuracies in _retained(trainer).history[-1:]
        if accuracies  # none without validation
    ]
    lines.append(f"test it: rtp test --ckpt_path {relative(folder / LAST)}")
    return "\n".join([*lines, f"curves: tensorboard --logdir {relative(folder)}"])


def tested_lines(trainer: L.Trainer) -> str:
    """The table of a test's results, what the learner was told and took, and where their file is."""
    callback, learner = _retained(trainer), trainer.lightning_module
    assert callback.retention is not None  # the test is over
    assert isinstance(learner, ContinualLearner)
    told = "is told" if learner.needs_task else "does not need"
    seconds = {"learned": callback.learning_seconds, "evaluated": callback.evaluation_seconds}
    took = ", ".join(f"{did} in {value:,.1f} s" for did, value in seconds.items() if value is not None)
    lines = [callback.retention.table(), f"{learner.scenario}: at test time the learner {told} an image's task; {took}"]
    return "\n" + "\n".join([*lines, "", f"results: {relative(run_folder(trainer) / 'test.json')}"])


def _retained(trainer: L.Trainer) -> RetainedAccuracy:
    return next(c for c in trainer.callbacks if isinstance(c, RetainedAccuracy))  # type: ignore[attr-defined]
