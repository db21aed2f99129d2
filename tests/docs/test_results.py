"""RESULTS.md and the ledger of results: the tables are the ledger's numbers, and the studies' are their runs' means."""

import csv
import math
import re
import shutil
import statistics
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
COUNTS = ("floats", "bytes", "networks", "steps", "threads", "test_reads")
PERCENTAGES = ("accuracy", "std", "paper", "paper_std")
NUMBERS = (*COUNTS, *PERCENTAGES, "minutes", "value", "value_std")


def load_script() -> ModuleType:
    spec = spec_from_file_location("render_results", ROOT / "docs" / "render_results.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()
LEDGER = script.read_ledger(ROOT / "docs" / "results")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "RESULTS.md", tmp_path)
    shutil.copytree(ROOT / "docs" / "results", tmp_path / "docs" / "results")
    return tmp_path


def check(root: Path) -> int:
    status = script.main(["--check", "--root", str(root)])
    assert isinstance(status, int)
    return status


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_tables_are_those_of_the_ledger() -> None:
    assert check(ROOT) == 0, "run `make results`"


def test_results_stay_short() -> None:
    assert len((ROOT / "RESULTS.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("row", LEDGER.values(), ids=LEDGER.keys())
def test_a_row_holds_numbers(row: dict[str, str]) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row["id"])
    assert row["study"]
    assert row["setting"]
    assert row["data"]
    assert row["accuracy"] or row["value"]
    assert row["split"] in ("test", "validation", "train", "")
    assert all(math.isfinite(float(row[column])) for column in NUMBERS if row[column])
    assert all(int(row[column]) >= 0 for column in COUNTS if row[column])
    assert all(0 <= float(row[column]) <= 100 for column in PERCENTAGES if row[column])
    assert all(seed.isdigit() for seed in row["seeds"].split())
    assert (row["value"] == "") == (row["measure"] == "")
    assert (row["paper"] == "") == (row["paper_source"] == "")
    assert (row["split"] == "test") <= (row["test_reads"] not in ("", "0"))


def test_a_table_edited_by_hand_is_found(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(copy) == 0
    replace(copy / "RESULTS.md", "| **95.33 +- 0.62** |", "| **95.34 +- 0.62** |")
    assert check(copy) == 1
    assert "make results" in capsys.readouterr().err
    assert script.main(["--root", str(copy)]) == 0
    assert (copy / "RESULTS.md").read_text() == (ROOT / "RESULTS.md").read_text()


def test_a_number_changed_in_the_ledger_is_found(copy: Path) -> None:
    replace(copy / "docs" / "results" / "demo.csv", ",95.33,0.62,", ",95.34,0.62,")
    assert check(copy) == 1
    assert script.main(["--root", str(copy)]) == 0
    assert "**95.34 +- 0.62**" in (copy / "RESULTS.md").read_text()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("RESULTS.md", "<!-- end -->\n", "", "RESULTS.md: each"),
        ("RESULTS.md", "<!-- table: files -->", "<!-- table: small-runs -->", "RESULTS.md: each"),
        ("RESULTS.md", "<!-- table: files -->", "<!-- table: other -->", "tables.md has: files, other"),
        ("docs/results/tables.md", "{digits-random}", "{digits-randm}", "asks for 'accuracy' of 'digits-randm'"),
        ("docs/results/tables.md", "{digits-random}", "{digits-random:paper}", "asks for 'paper' of 'digits-random'"),
        ("docs/results/demo.csv", "\ndigits-random,", "\ndigits-distilled,", "'digits-distilled' comes twice"),
        ("docs/results/demo.csv", "id,study", "key,study", "demo.csv must have the columns id, study"),
        ("docs/results/demo.csv", "\ndigits-random,", "\ndigits-random,,", "demo.csv, line 3: 28 cells, not 27"),
    ],
)
def test_what_cannot_be_rendered_is_said(
    copy: Path, capsys: pytest.CaptureFixture[str], file: str, old: str, new: str, message: str
) -> None:
    replace(copy / file, old, new)
    before = (copy / "RESULTS.md").read_text()
    assert script.main(["--root", str(copy)]) == 1
    assert message in capsys.readouterr().err
    assert (copy / "RESULTS.md").read_text() == before


def study_groups() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The runs of each setting of the studies, with the id of their row in the ledger."""
    groups: dict[str, list[dict[str, str]]] = {}
    with (ROOT / "docs" / "studies" / "results.csv").open(encoding="utf-8", newline="") as file:
        for run in csv.DictReader(file):
            name = " ".join((run["study"], run["size"], run["setting"])).lower()
            key = re.sub("[^a-z0-9]+", "-", name).strip("-") + ("-validation" if run["split"] == "validation" else "")
            groups.setdefault(key, []).append(run)
    yield from groups.items()


def agrees(shown: str, number: float) -> bool:
    """Whether a number rounds to the digits that are shown."""
    return float(shown) == round(number, len(shown.partition(".")[2]))


@pytest.mark.parametrize(("key", "runs"), [pytest.param(*group, id=group[0]) for group in study_groups()])
def test_a_studys_row_is_the_mean_of_its_runs(key: str, runs: list[dict[str, str]]) -> None:
    row = LEDGER[key]
    accuracies = [100 * float(run["accuracy_mean"]) for run in runs]
    interferences = [100 * float(run["interference"]) for run in runs]
    assert agrees(row["accuracy"], statistics.fmean(accuracies))
    assert agrees(row["minutes"], sum(float(run["seconds"]) for run in runs) / 60)
    assert row["seeds"].split() == [run["seed"] for run in runs]
    if len(runs) > 1:
        assert agrees(row["std"], statistics.stdev(accuracies))
    elif row["std"]:
        assert agrees(row["std"], 100 * float(runs[0]["accuracy_std"]))
    if row["measure"]:
        assert agrees(row["value"], statistics.fmean(interferences))
    if row["value_std"]:
        assert agrees(row["value_std"], statistics.stdev(interferences))
    for run in runs:
        assert row["split"] == run["split"]
        assert row["data"] == run["data"]
        assert (row["floats"], row["bytes"]) == (run["storage_floats"], run["storage_bytes"])
        assert (row["networks"], row["steps"]) == (run["networks"], run["steps"])
