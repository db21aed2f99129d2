"""One run of a study: fit, test, export and its rows of the table; steps already done are skipped."""

import json
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import pstdev
from typing import Any

import torch
import yaml

from rtp.callbacks.best_checkpoint import BEST
from rtp.cli import main
from rtp.cli.commands.export import load_memory
from rtp.datamodules import TaskStream
from rtp.errors import UserError
from rtp.modules import ContinualLearner
from rtp.runs.checkpoint_io import LAST, PREVIOUS
from rtp.runs.checkpoints import checkpoint_config, load_checkpoint
from rtp.studies.data import built_data
from rtp.studies.plan import Run
from rtp.studies.table import DISTILLED, STREAM, Row
from rtp.utils.files import locked, write_json
from rtp.version import __version__

TEST, MEMORY = "test.json", "memory.safetensors"
RECORD, LOCK, OUTPUT = "study_run.json", "study_run.lock", "output.txt"  # the study's own
MEASURED = ("accuracy_mean", "accuracy_std", "networks", "storage_floats", "storage_bytes")
"""Entries of a test's results that are columns of the table."""


@dataclass
class Record:
    """The study's record in a run's folder.

    Attributes:
        digest: `Run.digest` when it was started.
        seconds: Time of its finished sessions of training.
        started: When the present session began, in seconds of `time.time`; none between sessions.
        steps: Outer steps, once it is fitted.
        device: What it was trained on, once it is fitted.
        data: Name of its data set, once it is fitted.
        tested: File name of the checkpoint to test, once it is fitted: a stream is tested at its end.
    """

    digest: str
    seconds: float = 0.0
    started: float | None = None
    steps: int | None = None
    device: str = ""
    data: str = ""
    tested: str = BEST


def claimed(folder: Path, wait: bool = False) -> AbstractContextManager[bool]:
    """Take a run's folder for this process, so that several may work on one study.

    Args:
        folder: Made where it is missing.
        wait: Whether to wait until no other process works on it.

    Returns:
        A context whose value is whether no other process works on it. A process that ends, in whichever way, gives its
        folder back.
    """
    return locked(folder / LOCK, wait)


def fit(run: Run, bars: bool) -> bool:
    """Fit a run, or continue it from its last checkpoint.

    Args:
        run: The run; its folder is claimed.
        bars: Whether to show progress bars.

    Returns:
        Whether there was something left to do.

    Raises:
        UserError: If the run was started with other options or configuration files.
        DivergenceError: If its training diverges.
    """
    record = _record(run)
    if record.steps is not None:
        return False
    last = next((file for name in (LAST, PREVIOUS) if (file := run.folder / name).is_file()), None)
    if last is None:
        _clear(run.folder)  # it was stopped before its first checkpoint
        record = Record(run.digest)
    elif record.started is not None:  # killed
        record.seconds += max(0.0, last.stat().st_mtime - record.started)
    record.started = time.time()
    _write(run, record)
    arguments = ["fit", *run.arguments, *([] if last is None else ["--ckpt_path=last"])]
    try:
        with _output(run):
            cli = main([*arguments, *_quiet(bars)])
        record.steps, record.device = int(cli.trainer.global_step), device_name(cli.trainer.strategy.root_device)
        record.data = cli.datamodule.name
        record.tested = LAST if isinstance(cli.model, ContinualLearner) else BEST
    finally:
        record.seconds += time.time() - record.started
        record.started = None
        _write(run, record)
    return True


def measure(run: Run, bars: bool) -> bool:
    """Test the best memory of a fitted run and export it, or test a continual learner after its stream.

    Args:
        run: The run; its folder is claimed.
        bars: Whether to show progress bars.

    Returns:
        Whether it was not tested yet.
    """
    name = _record(run).tested
    tested = run.folder / name
    if not tested.is_file():
        raise UserError(f"{run.folder} has no {name}: its study has to validate, set trainer.val_check_interval")
    untested = not (run.folder / TEST).is_file()
    if untested:
        with _output(run):
            main(["test", f"--ckpt_path={tested}", *_quiet(bars)])
    if name == BEST and not (run.folder / MEMORY).is_file():
        with _output(run):
            load_memory(tested, []).save(run.folder / MEMORY, overwrite=True)
    return untested


def test_rows(run: Run) -> list[Row]:
    """The rows of a run that was tested, one for each training set and architecture, or one of a stream."""
    found = json.loads((run.folder / TEST).read_text(encoding="utf-8"))
    record = _record(run)
    if record.tested == LAST:
        return [_stream_row(run, found)]
    return [
        Row(
            **_common(run),
            data=found["dataset"],
            training_set=result["training_set"],
            architecture=result["architecture"],
            split="test",
            **{name: result[name] for name in MEASURED},
            steps=record.steps or 0,
            device=record.device,
        )
        for result in found["results"]
    ]


def _stream_row(run: Run, found: dict[str, Any]) -> Row:
    last = run.folder / LAST
    config = checkpoint_config(last, load_checkpoint(last))
    accuracies, interference = found["retained_accuracies"], found["backward_transfer_interference"]
    return Row(
        **_common(run),
        data=found["dataset"],
        training_set=STREAM,
        architecture=_class_name(config["model"]["init_args"]["network"]),
        split="test",
        accuracy_mean=found["retained_accuracy"],
        accuracy_std=pstdev(accuracies),
        networks=len(accuracies),
        storage_floats=found["storage_floats"],
        storage_bytes=found["storage_floats"] * torch.float32.itemsize,
        steps=found["steps"],
        device=_record(run).device,
        interference=math.nan if interference is None else interference,
    )


def validation_row(run: Run) -> Row:
    """The row of a fitted run's best validation."""
    checkpoint = load_checkpoint(run.folder / BEST)
    config = checkpoint_config(run.folder / BEST, checkpoint)
    states = (state for name, state in checkpoint["callbacks"].items() if name.startswith("BestCheckpoint"))
    memory = [tensor for name, tensor in checkpoint["state_dict"].items() if name.startswith("memory.")]
    record = _record(run)
    return Row(
        **_common(run),
        data=record.data,
        training_set=DISTILLED,
        architecture=_class_name(config["model"]["init_args"]["network"]),
        split="validation",
        accuracy_mean=float(next(states)["best_model_score"]),
        accuracy_std=math.nan,
        networks=config["evaluation"]["validation_networks"],
        storage_floats=sum(tensor.numel() for tensor in memory),
        storage_bytes=sum(tensor.nbytes for tensor in memory),
        steps=record.steps or 0,
        device=record.device,
    )


def diverged_row(run: Run, split: str) -> Row:
    """The row of a run whose training diverged, with NaN as accuracy.

    Args:
        run: The run.
        split: What it would have been measured on.
    """
    config = yaml.safe_load((run.folder / "config.yaml").read_text(encoding="utf-8"))  # from before the first step
    last = run.folder / LAST
    data = built_data(config["data"])
    return Row(
        **_common(run),
        data=str(data.name),
        training_set=STREAM if isinstance(data, TaskStream) else DISTILLED,
        architecture=_class_name(config["model"]["init_args"]["network"]),
        split=split,
        accuracy_mean=math.nan,
        accuracy_std=math.nan,
        networks=0,
        storage_floats=0,
        storage_bytes=0,
        steps=int(load_checkpoint(last)["global_step"]) if last.is_file() else 0,
        device=device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
    )


def device_name(device: torch.device) -> str:
    """The name of a GPU, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _common(run: Run) -> dict[str, Any]:
    return {
        "study": run.plan.study,
        "size": run.plan.size,
        "setting": run.setting,
        "seed": run.seed,
        "seconds": round(_record(run).seconds, 1),
        "version": __version__,
        "digest": run.digest,
    }


def _class_name(part: dict[str, Any]) -> str:
    return str(part["class_path"]).rpartition(".")[2]


def _record(run: Run) -> Record:
    path = run.folder / RECORD
    if not path.is_file():
        return Record(run.digest)
    try:
        record = Record(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}): remove the folder {run.folder}") from error
    if record.digest != run.digest:
        raise UserError(
            f"the run in {run.folder} was started with other options or configuration files than its study has now "
            f"(digest {record.digest}, now {run.digest}): remove that folder, or use another --folder"
        )
    return record


def _write(run: Run, record: Record) -> None:
    write_json(run.folder / RECORD, asdict(record))


def _clear(folder: Path) -> None:
    """Make a run's folder, or remove what a run without a checkpoint left there."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


@contextmanager
def _output(run: Run) -> Iterator[None]:
    """Let a command's own lines go into the run's folder: a study has a line a run."""
    with (run.folder / OUTPUT).open("a", encoding="utf-8") as file, redirect_stdout(file):
        yield


def _quiet(bars: bool) -> list[str]:
    return [] if bars else ["--trainer.enable_progress_bar=false"]
