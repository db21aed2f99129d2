"""The benchmark's report: rows as they come, and a file with what there is."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.__main__ import measure
from benchmarks.sections import QUICK, Section, sections, weights_megabytes
from rtp.modules import ConvNet


def part(name: str, stops: bool = False) -> Section:
    def measured(before: Mapping[str, Any]) -> dict[str, Any]:
        if stops:
            raise KeyboardInterrupt
        return {name: len(before)}

    def rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield f"row of {name}", str(figures[name])

    return Section(name, measured, rows)


def test_parts_know_those_before_and_are_written_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine: dict[str, Any] = {"device": "x"}
    assert measure([part("first"), part("second")], machine, tmp_path / "partial.json", 100)
    assert json.loads((tmp_path / "partial.json").read_text()) == {"device": "x", "first": 1, "second": 2} == machine
    printed = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert printed == [["row", "of", "first", "1"], ["row", "of", "second", "2"]]


def test_an_interrupted_run_keeps_what_it_has(tmp_path: Path) -> None:
    parts = [part("first"), part("second", stops=True), part("third")]
    assert not measure(parts, {}, tmp_path / "partial.json", 100)
    assert json.loads((tmp_path / "partial.json").read_text()) == {"first": 0}


def test_no_part_begins_when_the_time_is_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not measure([part("first")], {}, tmp_path / "partial.json", 0)
    assert "not measured: there was no time left" in capsys.readouterr().out
    assert not (tmp_path / "partial.json").exists()


def test_quick_and_whole_have_parts_of_the_same_names() -> None:
    cpu = torch.device("cpu")
    whole, quick = ([section.title for section in sections(fast, cpu)] for fast in (False, True))
    assert set(quick) == set(whole) - {"small networks"}
    assert quick[:2] == whole[:2] == ["memory", "the machine"]  # the processor's memory before anything else


def test_the_weights_are_counted() -> None:
    network = ConvNet(QUICK.shape, QUICK.classes, QUICK.width)
    assert weights_megabytes(QUICK) == 4 * sum(weight.numel() for weight in network.parameters()) / 1e6
