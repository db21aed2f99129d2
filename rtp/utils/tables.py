"""Text for the terminal: tables, and names that anybody may have written."""

from collections.abc import Sequence


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    """Lay out rows of cells below a header; the first `words` columns are aligned left, the others right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if column < words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *(line(row) for row in rows)])


def printable(text: str) -> str:
    """Replace the characters that move a terminal's cursor or change its colours."""
    return "".join(character if character.isprintable() else "?" for character in text)
