"""The table of results: rows come back as they were, whatever happened to the file."""

import logging
import math
import multiprocessing
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import astuple, replace
from pathlib import Path

import pytest

from rtp.errors import UserError
from rtp.studies.table import Row, append_rows, read_rows

ROW = Row(
    study="unroll",
    size="fast",
    setting="T=10, momentum=full",
    data="digits",
    seed=3,
    training_set="distilled",
    architecture="ConvNet",
    split="test",
    accuracy_mean=0.1 + 0.2,
    accuracy_std=1e-17,
    networks=20,
    storage_floats=640,
    storage_bytes=2560,
    steps=1000,
    seconds=12.5,
    device='a "GPU", the first',
    version="0.1.0",
    interference=-0.125,
    digest="0123abcd",
)


def test_rows_come_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "results.csv"
    rows = [ROW, replace(ROW, seed=4), replace(ROW, training_set="random real")]
    append_rows(path, rows[:1])
    append_rows(path, rows[1:])
    assert read_rows(path) == rows
    assert path.read_text().count("study,") == 1


def test_the_header_is_the_documented_one(tmp_path: Path) -> None:
    append_rows(tmp_path / "results.csv", [])
    assert (tmp_path / "results.csv").read_text() == (
        "study,size,setting,data,seed,training_set,architecture,split,accuracy_mean,accuracy_std,networks,"
        "storage_floats,storage_bytes,steps,seconds,device,version,interference,digest\n"
    )


def test_no_file_is_an_empty_table(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "results.csv") == []


def test_what_diverged_is_not_a_number(tmp_path: Path) -> None:
    append_rows(tmp_path / "results.csv", [replace(ROW, accuracy_mean=math.nan)])
    (row,) = read_rows(tmp_path / "results.csv")
    assert math.isnan(row.accuracy_mean)
    assert astuple(replace(row, accuracy_mean=0.5)) == astuple(replace(ROW, accuracy_mean=0.5))


def test_a_later_row_of_the_same_key_takes_the_earlier_ones_place(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    other = replace(ROW, setting="T=1, momentum=full")
    append_rows(path, [ROW, other, replace(ROW, accuracy_mean=0.75)])
    assert [(row.setting, row.accuracy_mean) for row in read_rows(path)] == [
        (other.setting, other.accuracy_mean),
        (ROW.setting, 0.75),
    ]


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_a_last_line_that_was_cut_off_is_reported_and_left_out(
    tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("rtp"), "propagate", True)
    path = tmp_path / "results.csv"
    append_rows(path, [ROW, replace(ROW, seed=4)])
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_rows(path) == [ROW]
    assert "left out its last line" in caplog.text
    append_rows(path, [replace(ROW, seed=5)])
    assert "removed its last line" in caplog.text
    assert read_rows(path) == [ROW, replace(ROW, seed=5)]


def test_a_full_disk_leaves_the_table_as_it_was(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "results.csv"
    append_rows(path, [ROW])
    before = path.read_bytes()
    with (
        full_disk(len(before) + 50),
        pytest.raises(UserError, match=r"results.csv' cannot be written \(File too large"),
    ):
        append_rows(path, [replace(ROW, seed=5), replace(ROW, seed=6)])
    assert path.read_bytes() == before


def test_a_header_that_was_cut_off_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("study,si")
    append_rows(path, [ROW])
    assert read_rows(path) == [ROW]


def test_another_table_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("name,accuracy\na,1\n")
    for act in (lambda: read_rows(path), lambda: append_rows(path, [ROW])):
        with pytest.raises(UserError, match=r"other columns .* --results"):
            act()
    assert path.read_text() == "name,accuracy\na,1\n"


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    append_rows(path, [ROW])
    path.write_text(path.read_text().replace(",640,", ",many,"))
    with pytest.raises(UserError, match=r"row 2 of .* is damaged .*many.*: remove that line"):
        read_rows(path)


def test_several_processes_share_the_file(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append_many, args=(path, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert {row.seed for row in read_rows(path)} == set(range(4 * 25))


def _append_many(path: Path, number: int) -> None:
    for seed in range(25 * number, 25 * number + 25):
        append_rows(path, [replace(ROW, seed=seed)])
