"""The table of architectures: which number stands where."""

import math
from collections.abc import Callable

import pytest

pytest.importorskip("matplotlib", reason="figures need the extra rtp[plots]")

import numpy as np

from rtp.studies.figures.study import study_figure
from rtp.studies.figures.transfer import trained_on
from rtp.studies.table import Row

MakeRow = Callable[..., Row]


def test_rows_are_distilled_on_and_columns_tested_on(row: MakeRow) -> None:
    common = {"study": "architectures", "size": "paper", "data": "cifar10", "storage_floats": 30_600}
    means = {("ConvNet", "ConvNet"): 0.6, ("ConvNet", "ResNet12"): 0.5, ("ResNet12", "ConvNet"): 0.4}
    rows = [row(on, mean, architecture=tested, **common) for (on, tested), mean in means.items()]
    rows.append(row("ConvNet", 0.2, architecture="ConvNet", training_set="random real", **common))
    (axes,) = study_figure(rows, "architectures").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ResNet12", "ConvNet"]  # as in table 6
    assert [label.get_text() for label in axes.get_xticklabels()] == ["ResNet12", "ConvNet"]
    drawn = axes.images[0].get_array()
    assert drawn is not None
    expected = np.array([[math.nan, 40], [50, 60]])
    assert np.allclose(np.ma.filled(drawn, math.nan), expected, equal_nan=True)
    found = {(text.get_position(), text.get_text()) for text in axes.texts}
    assert ((1, 1), "60.0 ± 2.0") in found
    assert ((1, 1), "paper 66.4 ± 0.4") in found
    assert ((0, 1), "50.0 ± 2.0") in found
    assert ((0, 1), "paper 55.9 ± 0.6") in found
    assert ((1, 0), "paper 57.0 ± 0.3") in found
    assert len(found) == 6


def test_a_single_cell_and_a_diverged_one_can_be_drawn(row: MakeRow) -> None:
    rows = [row("MLP", math.nan, study="architectures", architecture="MLP")]
    (axes,) = study_figure(rows, "architectures").axes
    assert [text.get_text() for text in axes.texts] == ["diverged"]


def test_the_architecture_of_a_setting() -> None:
    assert trained_on("ConvNet") == trained_on("network=ConvNet, ipc=10") == "ConvNet"
