"""`rtp study`: runs a study file and collects the results in one table."""

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtp.cli.commands.parser import Parser
from rtp.errors import DivergenceError, UserError
from rtp.runs.checkpoints import BEST, LAST
from rtp.studies.definition import FAST, read_study
from rtp.studies.plan import Run, make_run
from rtp.studies.runs import TEST, claimed, diverged_row, fit, measure, test_rows, validation_row
from rtp.studies.summary import accuracy_text, summarise
from rtp.studies.table import Row, append_rows, read_rows
from rtp.utils.shipped import find

SUMMARY = "Redo one of the paper's studies: fit and test several settings with several seeds"


@dataclass(frozen=True)
class Finished:
    """The table rows of a finished run, and whether this call trained or tested it."""

    rows: list[Row]
    ran: bool


def study(args: Sequence[str]) -> None:
    """Run `rtp study`; raise UserError if an argument or a file is invalid."""
    parser = study_parser(
        "rtp study",
        f"{SUMMARY}.",
        "The same command continues a study that was stopped; several processes may work on it at once, each on its "
        "own runs.",
    )
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="seeds (default: those of the study)")
    parser.add_argument("--only", nargs="+", metavar="SETTING", help="run these settings alone")
    options = parser.parse_args(list(args))
    plan = read_study(find("configs", options.file, "studies"), options.size)
    if plan.search:
        raise UserError(f"{options.file} searches for {plan.search.option}: run it with `rtp sweep`")
    if unknown := [name for name in options.only or [] if name not in plan.settings]:
        raise UserError(f"there is no setting {unknown[0]!r} in the size {plan.size}: use {'; '.join(plan.settings)}")
    chosen = [name for name in plan.settings if options.only is None or name in options.only]
    root, table = Path(options.folder), results_file(options)
    # seed by seed, so that a study that is stopped early has results for every setting
    runs = [make_run(plan, setting, seed, root) for seed in options.seeds or plan.seeds for setting in chosen]
    elsewhere, new = 0, False
    for number, run in enumerate(runs, 1):
        print(f"[{number}/{len(runs)}] {run.setting}, seed {run.seed}: ", end="", flush=True)
        try:
            finished = finish(run, table)
        except UserError:
            print("refused")
            raise
        except BaseException:
            print("stopped; the same command continues from here")
            raise
        elsewhere += finished is None
        new = new or (finished is not None and finished.ran)
        print("another process works on it" if finished is None else accuracy_line(finished.rows))
    if elsewhere:
        print(f"{elsewhere} of {len(runs)} runs are still being done by other processes")
    # the whole table, not only the chosen settings
    conclude([make_run(plan, setting, plan.seeds[0], root) for setting in plan.settings], table, new)


def study_parser(command: str, description: str, epilog: str) -> Parser:
    """A parser with the options that `rtp study` and `rtp sweep` share."""
    parser = Parser(prog=command, description=description, epilog=epilog)
    parser.add_argument("file", metavar="FILE", help="study file, or the name of a shipped one, such as momentum")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--size", metavar="NAME", help="one of the file's sizes")
    size.add_argument(
        "--fast", action="store_const", dest="size", const=FAST, help=f"the size {FAST!r}: minutes on two CPU cores"
    )
    parser.add_argument("--folder", default="logs/studies", help="folder of all studies (default: %(default)s)")
    parser.add_argument("--results", metavar="FILE", help="table that rows are added to (default: FOLDER/results.csv)")
    return parser


def results_file(options: argparse.Namespace) -> Path:
    """The path of the results table; raise UserError if the file is another kind of table."""
    table = Path(options.results or Path(options.folder) / "results.csv")
    read_rows(table)
    return table


def finish(run: Run, table: Path) -> Finished | None:
    """Fit, test and export a run, skipping finished steps, and add its rows to the table.

    A study on the validation split takes the run's best validation in place of the test.

    Returns:
        The run's rows under the study's current files; None if another process has claimed the run.
    """
    with claimed(run.folder) as free:
        if not free:
            return None
        split = run.plan.split
        known = [row for row in read_rows(table) if run.owns(row) and row.split == split]
        results = (TEST,) if split == "test" else (BEST, LAST)
        if known and not any((run.folder / name).is_file() for name in results):
            return Finished(known, ran=False)  # it diverged, or its folder was deleted
        ran = True
        try:
            fitted = fit(run)
        except DivergenceError as error:
            rows = [diverged_row(run, split)]
            print(error, file=sys.stderr)
        else:
            tested = split == "test" and measure(run)
            rows, ran = test_rows(run) if split == "test" else [validation_row(run)], fitted or tested
        keys = {row.key for row in known}  # some may be missing from a truncated table
        append_rows(table, [row for row in rows if row.key not in keys])
        return Finished(rows, ran)


def accuracy_line(rows: Sequence[Row]) -> str:
    """One line for a run: the accuracy of its memory, the first row, with storage, steps and time."""
    row = rows[0]
    took = f"{row.storage_floats:,} numbers, {row.storage_bytes:,} bytes, {row.steps:,} steps, {row.seconds:,.0f} s"
    where = "test set" if row.split == "test" else f"{row.split} split"
    return f"{accuracy_text([row.accuracy_mean])} % on the {where} ({took})" if row.networks else "diverged"


def conclude(runs: Sequence[Run], table: Path, new: bool) -> None:
    """Print a study's results at one size, and save a figure to its folder if matplotlib is installed.

    Args:
        runs: One run per setting to show, in order, of one study and size.
        table: The results; rows of an earlier version of the study's files are left out.
        new: Whether this call ran anything: the figure then goes to TensorBoard too.
    """
    found = read_rows(table)
    rows = [row for run in runs for row in found if run.has_setting_of(row)]
    print(f"\n{summarise(rows)}\n\nresults: {table}")
    theirs = (runs[0].plan.study, runs[0].plan.size)
    if others := sorted({row.setting for row in found if (row.study, row.size) == theirs and row not in rows}):
        print(f"left out, as they are not of the settings that the study has now: {'; '.join(others)}")
    if not any(row.networks for row in rows):
        return
    if importlib.util.find_spec("matplotlib") is None:
        print("no figure: pip install matplotlib")
        return
    from rtp.studies.figures.saving import save_figure
    from rtp.studies.figures.study import study_figure

    name, folder = runs[0].plan.study, runs[0].folder.parents[1]  # a run's is SIZE/SETTING/SEED
    for path in save_figure(study_figure(rows, name), folder / name, tensorboard=folder if new else None):
        print(f"figure: {path}")
