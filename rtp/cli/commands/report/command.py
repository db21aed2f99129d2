"""`rtp report RUN`: write the page."""

from collections.abc import Sequence
from pathlib import Path

from rtp.artefact.hub import memory_path
from rtp.cli.commands.export import load_memory, split_data_options
from rtp.cli.commands.info import SUFFIX
from rtp.cli.commands.parser import Parser
from rtp.cli.commands.report.content import gathered
from rtp.cli.commands.report.page import rendered
from rtp.errors import UserError
from rtp.runs.checkpoints import BEST, LAST
from rtp.utils.files import new_file

NAME = "report.html"


def report(args: Sequence[str]) -> None:
    """Run `rtp report` with the arguments after `report`; UserError if one cannot be used."""
    parser = Parser(
        prog="rtp report",
        description="Write one HTML file about a run, to look at or to send: what was distilled into how many bits, "
        "its curve, bases, recalled images and similarity map, its results beside baselines, and how to repeat it.",
        epilog="Options --data.NAME VALUE change the data set of the checkpoint, such as --data.root.",
    )
    parser.add_argument("run", metavar="RUN", help=f"folder of a run with its {BEST}, or a memory as `rtp info` takes")
    parser.add_argument("--out", metavar="FILE", help=f"page to write (default: {NAME} in the run's folder, or here)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier page")
    own, data_options = split_data_options(args)
    options = parser.parse_args(own)
    run: Path | None = Path(options.run)
    if run is not None and run.is_dir():
        kept = [run / name for name in (BEST, LAST) if (run / name).is_file()]  # a stream's run has no best
        source = next(iter(kept), run / BEST)
        if not source.is_file():
            raise UserError(f"the folder {run} has no {BEST}: give the folder of a run that was validated")
    else:
        source = memory_path(options.run)
        run = None if source.suffix == SUFFIX else source.parent
    out = Path(options.out) if options.out else (run or Path()) / NAME
    page = rendered(gathered(load_memory(source, data_options), run))
    with new_file(out, options.overwrite) as file:
        file.write(page.encode())
    print(f"wrote {out}, {out.stat().st_size:,} bytes: open it in a browser")
