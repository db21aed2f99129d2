"""Render the tables of the pages of results, RESULTS.md and docs/results/streams.md, from the ledger in docs/results.

    python docs/render_results.py          # write the pages
    python docs/render_results.py --check  # exit with 1 when a page differs

The ledger has one row a number, in `docs/results/*.csv`. `docs/results/tables.md` has the layout of each table, with
`{id}` where the accuracy of a row belongs, `{id:paper}`, `{id:value}` or another column. Layouts and the blocks of
the pages that are filled have the same marks: `<!-- table: NAME -->` and `<!-- end -->`.
"""

import argparse
import csv
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("RESULTS.md", "docs/results/streams.md")
"""Paths of the pages, from the project's folder."""

COLUMNS = (
    *("id", "study", "setting", "data", "data_exactness", "split", "floats", "bytes", "accuracy", "std", "networks"),
    *("seeds", "steps", "minutes", "device", "threads", "torch", "commit", "command", "test_reads"),
    *("paper", "paper_std", "paper_source", "measure", "value", "value_std", "note"),
)
"""The columns of every file of the ledger; docs/results/README.md says what they hold."""

DEVIATIONS = {"accuracy": "std", "paper": "paper_std", "value": "value_std"}
"""The column of the standard deviation of each number that has one."""

COUNTS = ("floats", "bytes", "steps", "value")
"""Columns whose whole numbers are shown with separators of thousands."""

BLOCK = re.compile(r"(?P<start><!-- table: (?P<name>[a-z0-9-]+) -->\n)(?P<body>.*?)(?P<end><!-- end -->)", re.DOTALL)
PLACEHOLDER = re.compile(r"\{(?P<id>[a-z0-9-]+)(?::(?P<column>[a-z_]+))?\}")

Ledger = Mapping[str, Mapping[str, str]]


class LedgerError(Exception):
    """The ledger, the layouts or a page cannot be rendered; the message says why."""


def read_ledger(folder: Path) -> Ledger:
    """Read all files of the ledger.

    Args:
        folder: Folder of the .csv files.

    Returns:
        The rows by their id, in the order of the files.

    Raises:
        LedgerError: If a file has other columns, a row has another number of cells, or an id comes twice.
    """
    rows: dict[str, dict[str, str]] = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file)
            if tuple(next(lines, ())) != COLUMNS:
                raise LedgerError(f"{path.name} must have the columns {', '.join(COLUMNS)}")
            for cells in lines:
                if len(cells) != len(COLUMNS):
                    raise LedgerError(f"{path.name}, line {lines.line_num}: {len(cells)} cells, not {len(COLUMNS)}")
                row = dict(zip(COLUMNS, cells, strict=True))
                if row["id"] in rows:
                    raise LedgerError(f"{path.name}, line {lines.line_num}: the id {row['id']!r} comes twice")
                rows[row["id"]] = row
    return rows


def render(pages: Mapping[str, str], layouts: str, ledger: Ledger) -> dict[str, str]:
    """Fill the blocks of the pages.

    Args:
        pages: Texts of the pages by their paths.
        layouts: Text of docs/results/tables.md.
        ledger: The ledger's rows by their id.

    Returns:
        The texts with every block filled from its layout.

    Raises:
        LedgerError: If a mark has no end, a block has no layout or a layout no block, or a layout names a row or a
            number that the ledger lacks.
    """
    tables = {name: _filled(body, ledger) for name, body in _blocks(layouts, "tables.md").items()}
    used = {name for page, text in pages.items() for name in _blocks(text, page)}
    if unknown := used ^ tables.keys():
        raise LedgerError(f"tables that only one of the pages and tables.md has: {', '.join(sorted(unknown))}")
    return {
        page: BLOCK.sub(lambda block: block["start"] + tables[block["name"]] + block["end"], text)
        for page, text in pages.items()
    }


def _blocks(text: str, name: str) -> dict[str, str]:
    found = list(BLOCK.finditer(text))
    blocks = {block["name"]: block["body"] for block in found}
    marks = text.count("<!-- table:"), text.count("<!-- end -->")
    if marks != (len(blocks), len(blocks)):
        raise LedgerError(f"{name}: each '<!-- table: NAME -->' needs a name of its own and one '<!-- end -->'")
    return blocks


def _filled(layout: str, ledger: Ledger) -> str:
    return PLACEHOLDER.sub(lambda found: _number(ledger, found["id"], found["column"] or "accuracy"), layout)


def _number(ledger: Ledger, key: str, column: str) -> str:
    text = ledger.get(key, {}).get(column, "")
    if not text:
        raise LedgerError(f"tables.md asks for {column!r} of {key!r}, which the ledger does not have")
    if column in COUNTS and text.isdigit():
        text = f"{int(text):,}"
    deviation = ledger[key].get(DEVIATIONS.get(column, ""), "")
    return f"{text} +- {deviation}" if deviation else text


def main(args: Sequence[str] | None = None) -> int:
    """Write the pages, or compare them.

    Args:
        args: The command line without the program's name.

    Returns:
        The exit status: 1 if `--check` finds a difference or something cannot be rendered.
    """
    parser = argparse.ArgumentParser(description="Render the tables of the results from the ledger in docs/results.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 when a page differs")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of RESULTS.md and docs (default: this project)")
    options = parser.parse_args(args)
    folder = options.root / "docs" / "results"
    pages = {page: (options.root / page).read_text(encoding="utf-8") for page in PAGES}
    try:
        rendered = render(pages, (folder / "tables.md").read_text(encoding="utf-8"), read_ledger(folder))
    except LedgerError as error:
        print(error, file=sys.stderr)
        return 1
    differing = [page for page in PAGES if rendered[page] != pages[page]]
    if options.check and differing:
        print(f"{' and '.join(differing)} differ from docs/results: run `make results`", file=sys.stderr)
        return 1
    if not options.check:
        for page, text in rendered.items():
            (options.root / page).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
