"""What stands in a study's figure: values, error bars, ticks, legends."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest

pytest.importorskip("matplotlib", reason="figures need the extra rtp[plots]")

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure

from rtp.errors import UserError
from rtp.studies.figures.study import study_figure, trained_on
from rtp.studies.table import Row

MakeRow = Callable[..., Row]


def curves(axes: Axes) -> list[ErrorbarContainer]:
    return [container for container in axes.containers if isinstance(container, ErrorbarContainer)]


def bars(axes: Axes) -> list[BarContainer]:
    return [container for container in axes.containers if isinstance(container, BarContainer)]


def error_lengths(container: ErrorbarContainer) -> list[float]:
    """Half the lengths of error bars, from the lines that are drawn."""
    (lines,) = container.lines[2]
    return [float(segment[1][1] - segment[0][1]) / 2 for segment in lines.get_segments()]


def written(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()] if figure.legends else []


def test_a_numeric_axis_is_a_curve_with_its_seeds_deviation(row: MakeRow) -> None:
    rows = [
        row(f"T={t}, momentum={m}", mean, seed=seed)
        for m, start in (("none", 0.4), ("full", 0.5))
        for t, gain in ((20, 0.3), (1, 0.0), (5, 0.2))
        for seed, mean in ((0, start + gain - 0.01), (1, start + gain + 0.01))
    ]
    figure = study_figure(rows, "momentum")
    (axes,) = figure.axes
    first, second = curves(axes)
    assert np.allclose(first.lines[0].get_xydata(), [(1, 40), (5, 60), (20, 70)])
    assert np.allclose(second.lines[0].get_ydata(), [50, 70, 80])
    assert np.allclose(error_lengths(first), [2**0.5] * 3)
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "5", "20"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("inner steps T", "test accuracy (%)")
    assert axes.get_title() == "Digits, size fast\n640 numbers, ± std over 2 seeds"
    assert legend(figure) == ["momentum none", "momentum full"]


@pytest.mark.parametrize("shorter", [0, 1], ids=["all", "one of them"])
def test_numbers_of_other_formats_are_compared_by_their_bytes(row: MakeRow, shorter: int) -> None:
    rows = [row("a", storage_floats=640, storage_bytes=(640, 2560)[shorter]), row("b", storage_bytes=712)]
    (axes,) = study_figure(rows, "momentum").axes
    storage = ("640 to 712", "712 to 2,560")[shorter]
    assert axes.get_title() == f"Digits, size fast\n{storage} bytes, one seed, ± std over 20 networks"


def test_ticks_of_the_paper_s_loops_do_not_touch(row: MakeRow) -> None:
    figure = study_figure([row(f"T={t}") for t in (1, 10, 20, 50, 100, 150, 200)], "momentum")
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels() if label.get_text()]
    assert len(boxes) >= 5
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()][-1] == "200"


def test_a_sweep_on_the_validation_split_says_so(row: MakeRow) -> None:
    rows = [row(f"K={k}", k / 100, split="validation", accuracy_std=math.nan, networks=2) for k in (8, 16)]
    (axes,) = study_figure(rows, "momentum").axes
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale()) == ("bases K", "validation accuracy (%)", "linear")
    assert axes.get_title() == "Digits, size fast\n640 numbers, one seed"
    assert np.allclose(curves(axes)[0].lines[0].get_xydata(), [(8, 8), (16, 16)])


def test_one_network_has_no_deviation_to_speak_of(row: MakeRow) -> None:
    (axes,) = study_figure([row(accuracy_std=0.0, networks=1)], "momentum").axes
    assert axes.get_title() == "Digits, size fast\n640 numbers, one seed"


def test_settings_are_bars_beside_the_paper_s_numbers(row: MakeRow) -> None:
    common = {"data": "cifar10", "storage_floats": 30_720, "size": "paper"}
    means = {"full": 0.48, "none": 0.41, "forward_only": 0.44}
    rows = [row(setting, mean, **common) for setting, mean in means.items()]
    figure = study_figure(rows, "momentum")
    (axes,) = figure.axes
    (own,) = [container for container in bars(axes) if len(container)]
    assert [bar.get_height() for bar in own] == pytest.approx([41, 44, 48])
    assert own.errorbar is not None
    assert np.allclose(error_lengths(own.errorbar), 2)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["none", "forward only", "full"]
    paper = next(container for container in curves(axes) if container.get_label() == "paper, table 8")
    assert np.allclose(paper.lines[0].get_xydata(), [(0, 40.5), (1, 45.6), (2, 49.1)])
    assert np.allclose(error_lengths(paper), [0.8, 0.7, 0.6])
    assert legend(figure) == ["paper, table 8"]
    assert written(axes) == ["41.0", "44.0", "48.0", "40.5", "45.6", "49.1"]
    assert axes.get_title() == "CIFAR-10, size paper\n30,720 numbers, one seed, ± std over 20 networks"
    assert axes.get_ylim()[0] == 0


def test_a_small_size_does_not_stand_beside_the_paper_s_numbers(row: MakeRow) -> None:
    figure = study_figure(
        [row("pixels", data="mnist", size="mnist", storage_floats=7840, study="ablation")], "ablation"
    )
    assert figure.axes[0].get_title().startswith("MNIST, size mnist\n")
    assert legend(figure) == []
    rows = [row("pixels", data="mnist", size="paper_mnist", storage_floats=7840, study="ablation")]
    assert legend(study_figure(rows, "ablation")) == ["paper, table 7"]


def test_panels_too_wide_for_a_page_stand_below_each_other(row: MakeRow) -> None:
    for count, columns in ((3, 2), (20, 1)):
        rows = [row(f"learner {n}", 0.5, size=size) for size in ("one", "two") for n in range(count)]
        figure = study_figure(rows, "momentum")
        assert figure.get_figwidth() < 18
        lefts = {round(axes.get_position().x0, 1) for axes in figure.axes}
        assert len(lefts) == columns


def test_baselines_are_grey_bars_or_levels(row: MakeRow) -> None:
    rows = [row("a", 0.8), row("b", 0.9), row("a", 0.4, training_set="random real")]
    (axes,) = study_figure(rows, "momentum").axes
    assert [[bar.get_height() for bar in container] for container in bars(axes)] == [[80, 90], [40]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "random real"]
    rows = [row("T=1", 0.8), row("T=2", 0.9), row("T=1", 0.4, training_set="random real")]
    figure = study_figure(rows, "momentum")
    level = next(line for line in figure.axes[0].lines if line.get_label() == "random real")
    assert np.allclose(level.get_ydata(), 40)
    assert legend(figure) == ["random real"]


def test_what_diverged_is_said(row: MakeRow) -> None:
    nothing = {"accuracy_std": math.nan, "networks": 0, "storage_floats": 0}
    rows = [row("none", 0.8), row("full", math.nan, **nothing)]
    (axes,) = study_figure(rows, "momentum").axes
    assert written(axes) == ["80.0", "diverged"]
    assert axes.get_title().endswith("640 numbers, one seed, ± std over 20 networks\ndiverged: full (1 of 1)")
    assert axes.get_xlim()[1] > 1.4


def test_each_data_set_and_size_is_a_panel(row: MakeRow) -> None:
    rows = [row("none", 0.5, size=size, data=data) for data, size in zip("abcde", "abdfg", strict=True)]
    figure = study_figure([*rows, row("none", study="other")], "momentum")
    titles = [axes.get_title().partition("\n")[0] for axes in figure.axes if axes.axison]
    assert titles == ["a, size a", "b, size b", "c, size d", "d, size f", "e, size g"]
    assert len(figure.axes) == 6


def test_a_series_has_one_colour_and_a_setting_one_place_in_all_panels(row: MakeRow) -> None:
    one = [row(setting=f"T={t}, momentum={m}", data="digits") for t in (1, 10) for m in ("none", "full")]
    other = [row(setting=f"T={t}, momentum={m}", data="mnist") for t in (10, 1) for m in ("full", "none")]
    figure = study_figure([*one, *other], "momentum")
    colours = [{curve.get_label(): curve.lines[0].get_color() for curve in curves(axes)} for axes in figure.axes]
    assert colours[0] == colours[1]
    assert len(set(colours[0].values())) == 2

    names = ("first", "second", "third")
    bars_of = [row(setting=name, data="digits") for name in names]
    figure = study_figure([*bars_of, *(row(setting=name, data="mnist") for name in reversed(names))], "momentum")
    assert [[label.get_text() for label in axes.get_xticklabels()] for axes in figure.axes] == [list(names)] * 2


def test_a_study_without_rows_names_those_that_there_are(row: MakeRow) -> None:
    with pytest.raises(UserError, match=r"there are no results of a study 'unrol'; the table has momentum"):
        study_figure([row()], "unrol")
    with pytest.raises(UserError, match=r"the table has none"):
        study_figure([], "unrol")


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
