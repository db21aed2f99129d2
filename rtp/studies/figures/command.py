"""`rtp plot`: figures for papers, of memories and of studies."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from rtp.artefact import load
from rtp.cli.commands.parser import Parser
from rtp.errors import UserError
from rtp.studies.figures.images import bases_figure, recalled_figure
from rtp.studies.figures.saving import save_figure, without_suffix
from rtp.studies.figures.similarity import class_map, describe, similarity_figure
from rtp.studies.figures.study import study_figure
from rtp.studies.table import read_rows

SHOWN_CLASSES = 3
"""Classes that `recalled` shows by default: figures 12 to 14 have three."""


def plot(args: Sequence[str]) -> None:
    """Run `rtp plot`; raise UserError if an argument or a file is invalid."""
    options = _parser().parse_args(args)
    path = without_suffix(options.out)
    files = save_figure(options.draw(options), path, None if options.tensorboard is None else Path(options.tensorboard))
    print(f"wrote {' and '.join(map(str, files))}")


def _similarity(options: argparse.Namespace) -> Figure:
    shown = class_map(load(options.memory), options.order, options.classes)
    if shown.blocks is not None:
        print(describe(shown.blocks))
    return similarity_figure(shown, options.name or Path(options.memory).stem)


def _bases(options: argparse.Namespace) -> Figure:
    return bases_figure(load(options.memory), options.name or Path(options.memory).stem)


def _recalled(options: argparse.Namespace) -> Figure:
    names = options.names or [Path(memory).stem for memory in options.memories]
    if len(names) != len(options.memories):
        raise UserError(f"--names has {len(names)} names for {len(options.memories)} memories: give one to each")
    memories = [load(memory) for memory in options.memories]
    classes = options.classes or memories[0].class_names[:SHOWN_CLASSES]
    return recalled_figure(memories, names, classes, options.images)


def _study(options: argparse.Namespace) -> Figure:
    path = Path(options.results)
    if not path.is_file():
        raise UserError(f"there is no table {options.results!r}: studies write it, name theirs")
    rows = [row for row in read_rows(path) if options.size in (None, row.size)]
    return study_figure(rows, options.study)


def _parser() -> Parser:
    parser = Parser(prog="rtp plot", description="Draw figures of memories and of studies, as PNG and PDF.")
    kinds = parser.add_subparsers(required=True, metavar="FIGURE")
    memory = Parser(add_help=False)
    memory.add_argument("memory", metavar="MEMORY", help="file of `rtp export`")
    memory.add_argument("--name", help="what it is called in the figure (default: the file's name)")
    out = Parser(add_help=False)
    out.add_argument("--out", required=True, help="name of both files, with .png, .pdf or neither; they are replaced")
    out.add_argument("--tensorboard", metavar="FOLDER", help="add the figure to event files in this folder as well")

    kind = kinds.add_parser("similarity", parents=[memory, out], help="which classes share bases (figures 3 and 6)")
    kind.add_argument(
        "--order",
        choices=("superclass", "given"),
        help="superclass: blocks of CIFAR-100's superclasses, by default where the classes are its own; "
        "given: the order of --classes or of the labels",
    )
    kind.add_argument("--classes", nargs="+", metavar="CLASS", help="classes to show (default: all)")
    kind.set_defaults(draw=_similarity)

    kind = kinds.add_parser("bases", parents=[memory, out], help="the bases (figure 7)")
    kind.set_defaults(draw=_bases)

    kind = kinds.add_parser("recalled", parents=[out], help="images of several memories side by side (figures 8 to 14)")
    kind.add_argument("memories", metavar="MEMORY", nargs="+", help="files of `rtp export`, a panel each")
    kind.add_argument("--names", nargs="+", metavar="NAME", help="what they are called (default: the files' names)")
    kind.add_argument(
        "--classes", nargs="+", metavar="CLASS", help=f"classes to show (default: the first {SHOWN_CLASSES})"
    )
    kind.add_argument(
        "--images", type=int, default=10, help="recalled images of each class at most (default: %(default)s)"
    )
    kind.set_defaults(draw=_recalled)

    kind = kinds.add_parser("study", parents=[out], help="accuracies of a study against its settings")
    kind.add_argument("results", metavar="RESULTS", help="the table of results, a .csv file")
    kind.add_argument("--study", required=True, help="name of the study")
    kind.add_argument("--size", help="size of the study (default: a panel for each)")
    kind.set_defaults(draw=_study)
    return parser
