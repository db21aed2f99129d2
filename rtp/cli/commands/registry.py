"""The commands with their help, and those that are not methods of Lightning's Trainer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pkgutil import resolve_name


@dataclass(frozen=True)
class Command:
    """A command other than `fit`, `validate`, `test` and `predict`.

    Attributes:
        summary: Its line in `rtp --help`.
        function: Path of its function, "module:name", imported when the command runs.
    """

    summary: str
    function: str

    def __call__(self, args: Sequence[str]) -> None:
        """Call the function with the arguments after the command; it raises UserError for an unusable input."""
        resolve_name(self.function)(args)


DESCRIPTION = (
    "Distil an image data set into a few kilobytes of addressable memory, and train networks from it. For example: "
    "rtp fit --config configs/digits_ipc1.yaml; rtp test --ckpt_path logs/digits_ipc1/0/best.ckpt"
)
COMMANDS = {
    "fit": "Distil a data set into a memory",
    "validate": "Measure a checkpoint's memory on the validation split, by training a few networks on it",
    "test": "Measure it on the test set, with 20 networks and any architectures, beside baselines if wanted",
    "predict": "Write the images that a checkpoint's memory recalls, as PNG",
}
OTHER_COMMANDS = {
    "export": Command(
        "Write a checkpoint's memory as one file, or its recalled images as PNG", "rtp.cli.commands.export:export"
    ),
    "info": Command("Describe a memory's file or a checkpoint", "rtp.cli.commands.info:info"),
    "report": Command(
        "Write one HTML page about a run, to look at or to send", "rtp.cli.commands.report.command:report"
    ),
    "study": Command("Redo one of the paper's studies: several settings and seeds", "rtp.studies.study:study"),
    "sweep": Command("Choose the number of bases on the validation split", "rtp.studies.sweep:sweep"),
    "list": Command(
        "Show the data sets, memories, networks, ... that a configuration can name", "rtp.cli.commands.listing:show"
    ),
    "plot": Command(
        "Draw figures of memories and of studies, for papers: PNG and PDF", "rtp.studies.figures.command:plot"
    ),
}
