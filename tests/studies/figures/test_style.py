"""Names on figures, and how wide they are."""

import pytest

pytest.importorskip("matplotlib", reason="figures need the extra rtp[plots]")

import matplotlib as mpl

from rtp.studies.figures.style import COLOURS, MARKERS, new_figure, shown_name, styled, text_width


@styled()
def test_the_width_of_a_text_is_what_is_drawn() -> None:
    figure = new_figure(4, 1)
    for text in ("aquarium fish", "iiii", "WWWW $x"):
        drawn = figure.text(0, 0, text, fontsize=8).get_window_extent().width / figure.dpi
        assert text_width(text, 8) == pytest.approx(drawn, rel=0.1)
    assert text_width("", 8) == 0


def test_names_are_printable_and_not_too_long() -> None:
    assert shown_name("maple_tree\n\x1b[31m") == "maple tree??[31m"
    assert shown_name("x" * 40) == "x" * 31 + "…"
    assert shown_name("large_omnivores_and_herbivores") == "large omnivores and herbivores"


def test_the_style_is_undone() -> None:
    before = mpl.rcParams["pdf.fonttype"], mpl.rcParams["text.parse_math"]
    with styled():
        assert (mpl.rcParams["pdf.fonttype"], mpl.rcParams["text.parse_math"]) == (42, False)
    assert (mpl.rcParams["pdf.fonttype"], mpl.rcParams["text.parse_math"]) == before


def test_each_colour_has_a_marker_of_its_own() -> None:
    assert len(set(COLOURS)) == len(set(MARKERS)) == len(COLOURS) == len(MARKERS)
