"""One run of a study, and what happens to it when it is stopped anywhere."""

import json
import math
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from rtp import load
from rtp.cli import main
from rtp.errors import DivergenceError, UserError
from rtp.modules import MemoryDistillation
from rtp.runs.checkpoints import load_checkpoint
from rtp.studies import runs
from rtp.studies.definition import read_study
from rtp.studies.plan import Plan, Run, make_run
from rtp.studies.runs import claimed, device_name, diverged_row, fit, measure, validation_row
from rtp.studies.runs import test_rows as rows_of_test


@pytest.fixture(autouse=True)
def _keep_ctrl_c() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)  # Lightning turns Ctrl-C off for good


@pytest.fixture
def run(study_file: Path) -> Run:
    return make_run(read_study(study_file, "fast"), "short", 1, Path("studies"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one run left that was fitted, for all tests that start from such a run."""
    return tmp_path_factory.mktemp("kept") / "studies"


@pytest.fixture
def fitted(run: Run, kept: Path) -> Run:
    """A run that was fitted, and not tested yet."""
    if not kept.exists():
        fit(run)
        shutil.copytree("studies", kept)
    else:
        shutil.copytree(kept, "studies")
    return run


class KilledError(Exception):
    """Ends a run in the middle of a step."""


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the outer step of this number, from 1, end the run."""
    outer_loss: Callable[..., Tensor] = MemoryDistillation.outer_loss
    calls = iter(range(1, 100))

    def killed(self: MemoryDistillation, *batch: Tensor) -> Tensor:
        if next(calls) == step:
            raise KilledError
        return outer_loss(self, *batch)

    monkeypatch.setattr(MemoryDistillation, "outer_loss", killed)


def final_memory(run: Run) -> dict[str, Tensor]:
    checkpoint = load_checkpoint(run.folder / "last.ckpt")
    assert checkpoint["global_step"] == 4
    state: dict[str, Tensor] = checkpoint["state_dict"]
    return state


def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands of `rtp` that are run from now on."""
    done: list[str] = []

    def recorded(args: list[str]) -> Any:
        done.append(args[0])
        return main(args)

    monkeypatch.setattr(runs, "main", recorded)
    return done


def test_a_run_is_fitted_tested_and_exported_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    done = commands(monkeypatch)
    assert fit(run)
    assert run.folder == Path("studies/tiny/fast/short/seed1")
    assert measure(run)
    (row,) = rows_of_test(run)
    found = json.loads((run.folder / "test.json").read_text())
    assert (row.study, row.size, row.setting, row.seed, row.data) == ("tiny", "fast", "short", 1, "digits")
    assert (row.training_set, row.architecture, row.split) == ("distilled", "ConvNet", "test")
    assert (row.accuracy_mean, row.accuracy_std) == (found["accuracy_mean"], found["accuracy_std"])
    assert (row.networks, row.storage_floats, row.storage_bytes, row.steps) == (1, 608, 2432, 4)
    assert 0 < row.seconds < 600
    assert row.device == device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    memory = load(run.folder / "memory.safetensors")
    assert memory.storage_floats == 608
    assert memory.description.accuracies[-1].mean == pytest.approx(row.accuracy_mean)
    assert run.owns(row)
    assert not run.owns(replace(row, seed=0))
    assert not run.owns(replace(row, digest="0" * 8))
    assert "distilling digits" in (run.folder / "output.txt").read_text()

    (run.folder / "memory.safetensors").unlink()
    assert not fit(run)
    assert not measure(run)
    assert done == ["fit", "test"]
    assert (run.folder / "memory.safetensors").is_file()


def test_seed_and_options_reach_the_run(fitted: Run) -> None:
    config = load_checkpoint(fitted.folder / "best.ckpt")["rtp_config"]
    assert "seed_everything: 1" in config
    assert "num_steps: 1" in config
    assert config.count("seed: 1") == 1  # of the evaluation


def test_a_run_that_was_killed_ends_as_an_uninterrupted_one(fitted: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(fitted.plan, fitted.setting, fitted.seed, Path("killed"))
    with monkeypatch.context() as patch:
        kill_at(patch, 4)
        with pytest.raises(KilledError):
            fit(run)
    assert load_checkpoint(run.folder / "last.ckpt")["global_step"] == 2
    fit(run)
    assert "step 2" in (run.folder / "output.txt").read_text()
    torch.testing.assert_close(final_memory(run), final_memory(fitted), rtol=0, atol=0)


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        kill_at(patch, 2)
        with pytest.raises(KilledError):
            fit(run)
    assert (run.folder / "config.yaml").is_file()
    assert not (run.folder / "last.ckpt").exists()
    (run.folder / "test").mkdir()
    fit(run)
    final_memory(run)
    assert not (run.folder / "test").exists()


def test_a_fit_that_was_killed_at_its_very_end_is_gone_on_with(run: Run) -> None:
    fit(run)
    record = json.loads((run.folder / "study_run.json").read_text())
    last = (run.folder / "last.ckpt").stat().st_mtime
    # as a kill leaves it: its session began a minute before the last checkpoint
    (run.folder / "study_run.json").write_text(json.dumps(record | {"steps": None, "seconds": 7, "started": last - 60}))
    began = time.time()
    fit(run)
    again = json.loads((run.folder / "study_run.json").read_text())
    assert (again["steps"], again["started"]) == (4, None)
    assert 67 <= again["seconds"] <= 67 + time.time() - began


def test_a_run_of_other_options_is_not_gone_on_with(fitted: Run) -> None:
    changed = make_run(fitted.plan, fitted.setting, fitted.seed, Path("studies"), {"model.unroll.num_steps": 2})
    message = rf"other options or configuration files .*\(digest {fitted.digest}, now {changed.digest}\): remove that"
    with pytest.raises(UserError, match=message):
        fit(changed)


def test_a_run_of_an_edited_base_is_not_gone_on_with(fitted: Run) -> None:
    (base,) = fitted.plan.bases
    edited = Path("edited.yaml")
    edited.write_text(f"# a comment is no edit\n{base.read_text()}")
    again = replace(fitted, plan=replace(fitted.plan, bases=(edited,)))
    assert fit(again) is False
    edited.write_text(base.read_text().replace("images_per_class: 1", "images_per_class: 2"))
    with pytest.raises(UserError, match=r"remove that folder, or use another --folder"):
        fit(replace(fitted, plan=replace(fitted.plan, bases=(edited,))))


def test_a_damaged_record_is_named(run: Run) -> None:
    run.folder.mkdir(parents=True)
    (run.folder / "study_run.json").write_text("{")
    with pytest.raises(UserError, match=r"study_run\.json is damaged"):
        fit(run)


def test_a_run_without_validation_cannot_be_tested(run: Run) -> None:
    with pytest.raises(UserError, match=r"has no best\.ckpt: .* set trainer\.val_check_interval"):
        measure(run)


def test_the_best_validation_of_a_run_has_a_row(fitted: Run) -> None:
    row = validation_row(fitted)
    assert (row.data, row.architecture, row.split, row.networks) == ("digits", "ConvNet", "validation", 1)
    assert (row.storage_floats, row.storage_bytes, row.steps) == (608, 2432, 4)
    best = f"best validation accuracy {row.accuracy_mean:.4f}"
    assert best in (fitted.folder / "output.txt").read_text()
    assert math.isnan(row.accuracy_std)


def test_a_run_that_diverged_has_a_row_without_an_accuracy(run: Run) -> None:
    wild = make_run(run.plan, "wild", 0, Path("studies"), {"model.inner_optimizer.learning_rate": 1e30})
    with pytest.raises(DivergenceError):
        fit(wild)
    row = diverged_row(wild, "test")
    assert math.isnan(row.accuracy_mean)
    assert (row.data, row.architecture, row.networks, row.storage_floats, row.steps) == ("digits", "ConvNet", 0, 0, 0)


def test_a_run_that_diverged_has_the_name_of_its_data_module(fitted: Run) -> None:
    path = fitted.folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    data = {"class_path": "rtp.datamodules.HuggingFace", "init_args": {"path": "cifar10", "image_column": "img"}}
    path.write_text(yaml.safe_dump(config | {"data": data}))
    assert diverged_row(fitted, "test").data == "cifar10"


@pytest.fixture
def streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A study of two learners of a stream of three tasks."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "learners.yaml"
    (tmp_path / "ewc.yaml").write_text(EWC)
    conf = Path(__file__).parents[1] / "conf" / "streams" / "permuted_digits.yaml"
    settings = {
        "CTR": {},
        "CTR in 8 bits": {"model.memory.stored_as": "int8", "model.sample_bits": 8},
        "EWC": {"config": "ewc.yaml"},
        "wild": {"config": "ewc.yaml", "model.learning_rate": 1e30},
    }
    content = {"seeds": [3], "seeded": ["data.seed"], "sizes": {"fast": {"base": str(conf)}}, "settings": settings}
    path.write_text(yaml.safe_dump(content))
    return read_study(path, "fast")


EWC = "model: {class_path: EWC, init_args: {network: MLP, learning_rate: 0.1, ewc_lambda: 1.0, memory_images: 30}}"


def test_a_stream_has_a_row_of_what_is_left_of_it(streams: Plan) -> None:
    found = {}
    for setting in ("CTR", "EWC"):
        run = make_run(streams, setting, 3, Path("studies"))
        fit(run)
        measure(run)
        (row,) = rows_of_test(run)
        assert run.owns(row)
        assert row.digest == run.digest
        assert not (run.folder / "memory.safetensors").exists()
        assert load_checkpoint(run.folder / "last.ckpt")["rtp_config"].count("seed: 3") == 1  # of the stream
        test = json.loads((run.folder / "test.json").read_text())
        assert (row.data, row.training_set, row.architecture, row.split) == ("permuted_digits", "stream", "MLP", "test")
        assert (row.accuracy_mean, row.storage_bytes) == (test["retained_accuracy"], test["storage_bytes"])
        assert (row.storage_bytes, row.steps) == (4 * row.storage_floats, 3 * 4 * 2)
        found[setting] = row, test
    row, test = found["CTR"]
    assert math.isnan(row.interference)
    assert row.networks == 2
    assert row.accuracy_std == pytest.approx(abs(test["retained_accuracies"][0] - test["retained_accuracies"][1]) / 2)
    row, test = found["EWC"]
    assert (row.interference, row.networks) == (test["backward_transfer_interference"], 1)
    # and of tests from before bytes were counted, and from before numbers were counted beside them
    old = {name: value for name, value in test.items() if not name.endswith("_bytes")} | {"storage_floats": 640}
    (run.folder / "test.json").write_text(json.dumps(old))
    (row,) = rows_of_test(run)
    assert (row.storage_floats, row.storage_bytes) == (640, 2560)
    former = {name: value for name, value in test.items() if name != "storage_floats"} | {"storage_bytes": 5120}
    (run.folder / "test.json").write_text(json.dumps(former))
    (row,) = rows_of_test(run)
    assert (row.storage_floats, row.storage_bytes) == (1280, 5120)


def test_numbers_of_eight_bits_are_counted_as_numbers_and_as_bytes(streams: Plan) -> None:
    run = make_run(streams, "CTR in 8 bits", 3, Path("studies"))
    fit(run)
    measure(run)
    (row,) = rows_of_test(run)
    checkpoint = load_checkpoint(run.folder / "last.ckpt")
    sizes = [t.shape for name, t in checkpoint["state_dict"].items() if name.startswith("stored.")]
    assert row.storage_floats == sum(math.prod(shape) for shape in sizes)
    assert row.storage_bytes == row.storage_floats + 2 * sum(shape[0] for shape in sizes)  # and scales of 16 bits
    found = validation_row(run)
    stored, other, numbers = checkpoint["rtp_largest_bytes"]
    assert (found.storage_bytes, found.storage_floats) == (stored, numbers)
    assert numbers < stored < 2 * numbers
    # a checkpoint from before numbers were counted, when all had 32 bits
    torch.save(checkpoint | {"rtp_largest_bytes": [stored, other]}, run.folder / "last.ckpt")
    assert validation_row(run).storage_floats == stored // 4


def test_a_stream_is_compared_on_validation_after_its_last_task(streams: Plan) -> None:
    for setting, networks in (("CTR", 2), ("EWC", 1)):
        run = make_run(streams, setting, 3, Path("studies"))
        fit(run)
        row = validation_row(run)
        assert not (run.folder / "test.json").exists()
        checkpoint = load_checkpoint(run.folder / "last.ckpt")
        matrix = checkpoint["callbacks"]["RetainedAccuracy"]["history"]
        assert [len(accuracies) for accuracies in matrix] == [1, 2, 3]
        assert row.accuracy_mean == pytest.approx(sum(matrix[2]) / 3)
        assert (row.split, row.training_set, row.networks, row.steps) == ("validation", "stream", networks, 24)
        assert 0 < row.storage_bytes <= 30 * 64 * 4
        checkpoint["callbacks"]["RetainedAccuracy"]["history"] = matrix[:2]
        torch.save(checkpoint, run.folder / "last.ckpt")
        with pytest.raises(UserError, match=r"was not validated after every task: set trainer\.check_val_every"):
            validation_row(run)


def test_a_learner_that_diverged_is_in_the_same_panel(streams: Plan) -> None:
    wild = make_run(streams, "wild", 3, Path("studies"))
    with pytest.raises(DivergenceError):
        fit(wild)
    row = diverged_row(wild, "test")
    assert (row.data, row.training_set, row.architecture) == ("permuted_digits", "stream", "MLP")


def test_a_folder_is_one_processs_at_a_time(tmp_path: Path) -> None:
    with claimed(tmp_path / "run") as first, claimed(tmp_path / "run") as second:
        assert (first, second) == (True, False)
    with claimed(tmp_path / "run") as third, claimed(tmp_path / "other", wait=True) as fourth:
        assert (third, fourth) == (True, True)
