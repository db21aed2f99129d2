from pathlib import Path

import pytest
from PIL import ImageFont

from rtp.utils import fonts
from rtp.utils.fonts import font_of

pytest.importorskip("matplotlib")


def font_with(path: Path, letters: str) -> None:
    """Write a font that draws each of these letters as a square."""
    builder_of, pen_of = (pytest.importorskip(f"fontTools.{name}") for name in ("fontBuilder", "pens.ttGlyphPen"))
    builder, pen = builder_of.FontBuilder(1000, isTTF=True), pen_of.TTGlyphPen(None)
    for move, point in ((pen.moveTo, (100, 0)), (pen.lineTo, (100, 700)), (pen.lineTo, (800, 700))):
        move(point)
    pen.closePath()
    names = [f"glyph{ord(letter)}" for letter in letters]
    glyphs = {".notdef": pen_of.TTGlyphPen(None).glyph(), **dict.fromkeys(names, pen.glyph())}
    builder.setupGlyphOrder(list(glyphs))
    builder.setupCharacterMap({ord(letter): name for letter, name in zip(letters, names, strict=True)})
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (900, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


@pytest.mark.parametrize("names", [["cat", "p\u00eache"], ["\u03b1\u03b2", "\u043a\u043e\u0442"], ["\u0642\u0637"], []])
def test_dejavu_sans_draws_many_scripts(names: list[str]) -> None:
    font, written = font_of(names, 13)
    assert font.getname()[0] == "DejaVu Sans"
    assert written == names


@pytest.mark.parametrize("name", ["\u732b", "\u3044\u306c", "\uac1c", "cat \u732b"])
def test_without_a_font_for_it_a_name_is_its_number(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(fonts, "SYSTEM_FONTS", ("missing.ttc",))
    assert font_of(["dog", name], 13)[1] == ["dog", "class 1"]


def test_a_font_of_the_machine_draws_what_dejavu_sans_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    font_with(tmp_path / "half.ttf", "\u732b")
    font_with(tmp_path / "whole.ttf", "\u732b\u72ac")
    monkeypatch.setattr(fonts, "SYSTEM_FONTS", (str(tmp_path / "half.ttf"), str(tmp_path / "whole.ttf")))
    font, written = font_of(["\u732b", "\u72ac"], 13)
    assert isinstance(font, ImageFont.FreeTypeFont)
    assert font.path == str(tmp_path / "whole.ttf")
    assert written == ["\u732b", "\u72ac"]
