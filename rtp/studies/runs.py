"""One run of a study: fit, test, export and its table rows; finished steps are skipped."""

import gc
import json
import math
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import torch
import yaml

from rtp.artefact.layout import trained_format
from rtp.cli import RtpCLI, main
from rtp.cli.commands.export import load_memory
from rtp.datamodules import TaskStream
from rtp.errors import UserError
from rtp.modules import ContinualLearner
from rtp.modules.continual.base import largest
from rtp.modules.memories.number_formats import stored_bits
from rtp.runs.checkpoints import BEST, LAST, PREVIOUS, checkpoint_config, load_checkpoint
from rtp.studies.data import built_data
from rtp.studies.plan import Run
from rtp.studies.table import DISTILLED, STREAM, Row
from rtp.utils.files import locked, write_json
from rtp.version import __version__

TEST, MEMORY = "test.json", "memory.safetensors"
RECORD, LOCK, OUTPUT = "study_run.json", "study_run.lock", "output.txt"
MEASURED = ("accuracy_mean", "accuracy_std", "networks", "storage_floats", "storage_bytes")
"""Entries of the test results that become columns of the table."""


@dataclass
class Record:
    """The record in a run's folder; `steps` and what follows are set once the run is fitted.

    Attributes:
        digest: `Run.digest` at the start of the run.
        seconds: Duration of the finished training sessions.
        started: Start of the current session, in seconds of `time.time`; None between sessions.
        steps: Outer steps.
        device: Device of the training.
        data: Name of the data set.
        tested: File name of the checkpoint to test; for a stream, the last one.
    """

    digest: str
    seconds: float = 0.0
    started: float | None = None
    steps: int | None = None
    device: str = ""
    data: str = ""
    tested: str = BEST


def claimed(folder: Path, wait: bool = False) -> AbstractContextManager[bool]:
    """Lock a run's folder for this process, so that several processes can share a study; see `locked`."""
    return locked(folder / LOCK, wait)


def fit(run: Run) -> bool:
    """Fit a run whose folder is claimed, or continue it from its last checkpoint; return whether any was left to do.

    Raises:
        UserError: If the run was started with other options or configuration files.
        DivergenceError: If training diverges.
    """
    record = _record(run)
    if record.steps is not None:
        return False
    last = next((file for name in (LAST, PREVIOUS) if (file := run.folder / name).is_file()), None)
    if last is None:
        _clear(run.folder)  # stopped before its first checkpoint
        record = Record(run.digest)
    elif record.started is not None:  # killed
        record.seconds += max(0.0, last.stat().st_mtime - record.started)
    record.started = time.time()
    write_json(run.folder / RECORD, asdict(record))
    resume = [] if last is None else ["--ckpt_path=last"]
    try:
        cli = _command(run, "fit", *run.arguments, *resume)
        record.steps, record.device = int(cli.trainer.global_step), device_name(cli.trainer.strategy.root_device)
        record.data = cli.datamodule.name
        record.tested = LAST if isinstance(cli.model, ContinualLearner) else BEST
    finally:
        record.seconds += time.time() - record.started
        record.started = None
        write_json(run.folder / RECORD, asdict(record))
    return True


def measure(run: Run) -> bool:
    """Test and export a run's best memory, or test a learner after its stream; return whether it was untested."""
    name = _record(run).tested
    tested = run.folder / name
    if not tested.is_file():
        raise UserError(f"{run.folder} has no {name}: its study has to validate, set trainer.val_check_interval")
    untested = not (run.folder / TEST).is_file()
    if untested:
        _command(run, "test", f"--ckpt_path={tested}")
    if name == BEST and not (run.folder / MEMORY).is_file():
        with _output(run):
            load_memory(tested, []).save(run.folder / MEMORY, overwrite=True)
    return untested


def test_rows(run: Run) -> list[Row]:
    """Rows of a tested run: one per training set and architecture, or a single one for a stream."""
    test = json.loads((run.folder / TEST).read_text(encoding="utf-8"))
    if _record(run).tested == LAST:
        return [_stream_row(run, test)]
    copied = ("training_set", "architecture", *MEASURED)
    found = [{name: result[name] for name in copied} for result in test["results"]]
    return [_row(run, split="test", data=test["dataset"], **columns) for columns in found]


def _stream_row(run: Run, test: dict[str, Any]) -> Row:
    last = run.folder / LAST
    # tests of before have one of these alone, and then all numbers have 32 bits
    numbers = test["storage_floats"] if "storage_floats" in test else test["storage_bytes"] // torch.float32.itemsize
    accuracies, interference = test["retained_accuracies"], test["backward_transfer_interference"]
    return _row(
        run,
        data=test["dataset"],
        training_set=STREAM,
        architecture=_architecture(checkpoint_config(last, load_checkpoint(last))),
        split="test",
        accuracy_mean=test["retained_accuracy"],
        accuracy_std=pstdev(accuracies),
        networks=len(accuracies),
        storage_floats=numbers,
        storage_bytes=test.get("storage_bytes", numbers * torch.float32.itemsize),
        steps=test["steps"],
        interference=math.nan if interference is None else interference,
    )


def validation_row(run: Run) -> Row:
    """The row of a fitted run's best validation; for a stream, of the one after its last task, without BTI."""
    if _record(run).tested == LAST:
        return _stream_validation_row(run)
    checkpoint = load_checkpoint(run.folder / BEST)
    config = checkpoint_config(run.folder / BEST, checkpoint)
    states = (state for name, state in checkpoint["callbacks"].items() if name.startswith("BestCheckpoint"))
    memory = [tensor for name, tensor in checkpoint["state_dict"].items() if name.startswith("memory.")]
    return _row(
        run,
        architecture=_architecture(config),
        split="validation",
        accuracy_mean=float(next(states)["best_model_score"]),
        networks=config["evaluation"]["validation_networks"],
        storage_floats=sum(tensor.numel() for tensor in memory),
        storage_bytes=-(-sum(stored_bits(tensor.shape, trained_format(config)) for tensor in memory) // 8),
    )


def _stream_validation_row(run: Run) -> Row:
    checkpoint = load_checkpoint(run.folder / LAST)
    config = checkpoint_config(run.folder / LAST, checkpoint)
    matrix = checkpoint["callbacks"]["RetainedAccuracy"]["history"]
    if len(matrix) < checkpoint["state_dict"]["finished_tasks"]:
        raise UserError(f"{run.folder} was not validated after every task: set trainer.check_val_every_n_epoch to 1")
    stored, _, numbers = largest(checkpoint)
    return _row(
        run,
        training_set=STREAM,
        architecture=_architecture(config),
        split="validation",
        accuracy_mean=fmean(matrix[-1]),
        networks=config["model"]["init_args"].get("networks", 1),
        storage_floats=numbers,
        storage_bytes=stored,
        steps=int(checkpoint["global_step"]),  # Lightning counts those of its optimizers
    )


def diverged_row(run: Run, split: str) -> Row:
    """The row of a run that diverged before its evaluation on a split, with NaN as accuracy."""
    config = yaml.safe_load((run.folder / "config.yaml").read_text(encoding="utf-8"))  # written before the first step
    last = run.folder / LAST
    data = built_data(config["data"])
    return _row(
        run,
        data=str(data.name),
        training_set=STREAM if isinstance(data, TaskStream) else DISTILLED,
        architecture=_architecture(config),
        split=split,
        accuracy_mean=math.nan,
        networks=0,
        storage_floats=0,
        storage_bytes=0,
        steps=int(load_checkpoint(last)["global_step"]) if last.is_file() else 0,
        device=device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
    )


def device_name(device: torch.device) -> str:
    """The name of a GPU, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _row(run: Run, **columns: Any) -> Row:
    """A row of the table; by default its columns are those of a distilled memory's single evaluation."""
    record = _record(run)
    defaults: dict[str, Any] = {
        "study": run.plan.study,
        "size": run.plan.size,
        "setting": run.setting,
        "seed": run.seed,
        "seconds": round(record.seconds, 1),
        "version": __version__,
        "digest": run.digest,
        "data": record.data,
        "training_set": DISTILLED,
        "accuracy_std": math.nan,
        "steps": record.steps or 0,
        "device": record.device,
    }
    return Row(**(defaults | columns))


def _architecture(config: dict[str, Any]) -> str:
    return str(config["model"]["init_args"]["network"]["class_path"]).rpartition(".")[2]


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


def _clear(folder: Path) -> None:
    """Create a run's folder, or delete the remains of a run without a checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


@contextmanager
def _output(run: Run) -> Iterator[None]:
    """Redirect standard output to the run's folder: a study prints one line per run."""
    with (run.folder / OUTPUT).open("a", encoding="utf-8") as file, redirect_stdout(file):
        yield


def _command(run: Run, *arguments: str) -> RtpCLI:
    gc.collect()  # a trainer, its modules and its data refer to each other: those of many runs would fill the memory
    bars = [] if sys.stderr.isatty() else ["--trainer.enable_progress_bar=false"]  # in a terminal, not in a file
    with _output(run):
        return main([*arguments, *bars])
