"""The printed table of a study, by hand."""

import math
from dataclasses import replace

import pytest

from rtp.studies.summary import accuracy_text, summarise
from rtp.studies.table import Row


def row(setting: str, seed: int, accuracy: float, floats: int = 640) -> Row:
    networks = 0 if math.isnan(accuracy) else 20
    accuracies = (accuracy, 0.01, networks, floats, 4 * floats)
    return Row(
        *("momentum", "fast", setting, "digits", seed, "distilled", "ConvNet", "test"),
        *accuracies,
        1000,
        12.5,
        "cpu",
        "0",
    )


@pytest.mark.parametrize(
    ("accuracies", "text"),
    [
        ([0.5], "50.00"),
        ([0.5, 0.6], "55.00 +- 7.07"),  # 5 * sqrt(2)
        ([0.5, math.nan, 0.6], "55.00 +- 7.07 (1 diverged)"),
        ([math.nan, math.nan], "(2 diverged)"),
    ],
)
def test_accuracies_are_averaged_over_seeds(accuracies: list[float], text: str) -> None:
    assert accuracy_text(accuracies) == text


def test_each_setting_has_a_line() -> None:
    lines = summarise([row("none", 0, 0.5), row("full", 0, 0.7, 608), row("none", 1, 0.6)]).splitlines()
    assert lines[0].split()[:2] == ["setting", "training"]
    assert lines[2].split() == [
        "none",
        "distilled",
        "ConvNet",
        "test",
        "55.00",
        "+-",
        "7.07",
        "2",
        "640",
        "2,560",
        "1,000",
        "12",
    ]
    assert lines[3].split() == ["full", "distilled", "ConvNet", "test", "70.00", "1", "608", "2,432", "1,000", "12"]


def test_what_a_learner_forgets_has_a_column() -> None:
    rows = [replace(row("EWC", seed, 0.5), interference=change) for seed, change in ((0, -0.1), (1, -0.2))]
    lines = summarise([*rows, row("CTR", 0, 0.7)]).splitlines()
    assert lines[0].endswith("  BTI (%)")
    assert lines[2].endswith("  -15.00 +- 7.07")
    assert lines[3].endswith("  n/a")


def test_what_diverged_has_no_storage() -> None:
    rows = [row("none", 0, math.nan, 0), row("none", 1, 0.6), row("none", 2, 0.6, 1280)]
    assert "640 to 1,280" in summarise(rows)
