"""Summaries over seeds by hand, and what becomes an axis, a series, a bar or a baseline."""

import math
from collections.abc import Callable

import pytest

pytest.importorskip("matplotlib", reason="figures need the extra rtp[plots]")

from rtp.studies.figures.points import Point, axes_of, chart, distilled_and_others, over_seeds
from rtp.studies.table import Row

MakeRow = Callable[..., Row]


def test_seeds_have_a_mean_and_a_sample_deviation(row: MakeRow) -> None:
    point = over_seeds([row(mean=0.5, seed=0), row(mean=0.6, seed=1), row(mean=0.7, seed=2)])
    assert (point.mean, point.std) == pytest.approx((60, 10))
    assert (point.seeds, point.diverged, point.storage_floats) == (3, 0, 640)


def test_one_seed_has_the_deviation_of_its_networks(row: MakeRow) -> None:
    assert over_seeds([row()]) == Point(50.0, 2.0, 1, 0, 640)
    assert over_seeds([row(accuracy_std=math.nan)]) == Point(50.0, 0.0, 1, 0, 640)


def test_a_repeated_seed_counts_once_and_a_diverged_one_apart(row: MakeRow) -> None:
    diverged = row(mean=math.nan, accuracy_std=math.nan, seed=1, storage_floats=0)
    assert over_seeds([row(mean=0.1), row(mean=0.5), diverged]) == Point(50.0, 2.0, 1, 1, 640)
    nothing = over_seeds([diverged])
    assert math.isnan(nothing.mean)
    assert (nothing.std, nothing.seeds, nothing.diverged) == (0, 0, 1)


def test_names_of_a_grid_have_axes_and_others_none() -> None:
    assert axes_of("T=10, momentum=full") == {"T": "10", "momentum": "full"}
    assert axes_of("forward_only") == axes_of("BPTT, T=10") == {}


def test_the_numeric_axis_is_x_in_the_order_of_its_numbers(row: MakeRow) -> None:
    rows = [row(f"momentum={m}, T={t}", t / 100) for m in ("none", "full") for t in (100, 1, 20)]
    drawn = chart(rows)
    assert (drawn.axis, drawn.numeric, drawn.places) == ("T", True, ("1", "20", "100"))
    assert list(drawn.series) == ["momentum none", "momentum full"]
    assert drawn.series["momentum full"]["20"].mean == 20


def test_of_two_numeric_axes_the_longer_one_is_x(row: MakeRow) -> None:
    drawn = chart([row(f"ipc={ipc}, K={k}") for ipc in (1, 10) for k in (8, 16, 32)])
    assert (drawn.axis, list(drawn.series)) == ("K", ["ipc 1", "ipc 10"])


def test_labels_that_are_no_numbers_are_bars_and_so_are_free_names(row: MakeRow) -> None:
    grid = chart([row(f"method={m}, memory={k}") for m in ("DC", "DM", "TM") for k in ("pixel", "addressable")])
    assert (grid.axis, grid.numeric, grid.places) == ("method", False, ("DC", "DM", "TM"))
    assert list(grid.series) == ["memory pixel", "memory addressable"]
    free = chart([row("none"), row("T=1")])
    assert (free.axis, free.numeric, free.places, list(free.series)) == ("", False, ("none", "T=1"), [""])


def test_splits_and_architectures_tell_series_apart_where_there_are_several(row: MakeRow) -> None:
    rows = [row("K=8", split="validation"), row("K=16", split="validation"), row("K=16", architecture="MLP")]
    assert list(chart(rows).series) == ["ConvNet, validation", "MLP, test"]
    assert list(chart(rows[:2]).series) == [""]


def test_baselines_beside_a_memory_are_not_settings_and_selections_are(row: MakeRow) -> None:
    rows = [
        row("BPTT", 0.9),
        row("BPTT", 0.5, training_set="random real"),
        row("DC", 0.8),
        row("DC", 0.6, training_set="random real", seed=1),
        row("random", 0.4, training_set="random real"),
    ]
    own, others = distilled_and_others(rows)
    assert own == [rows[0], rows[2], rows[4]]
    assert list(others) == ["random real"]
    assert (others["random real"].mean, others["random real"].std) == pytest.approx((55, 50**0.5))
