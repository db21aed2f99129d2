"""The parser of options: raises its errors, and takes null for an option of a class within a class."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser


class OptionParser(LightningArgumentParser):
    """Lightning's parser; also of the classes that an option names, each of which parses its own options.

    jsonargparse reads `--model.memory.num_bases null` as None, and hands it to the memory's parser as that text. So a
    configuration's value could not be unset on the command line.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"exit_on_error": False})  # `main` puts errors in one line

    def parse_args(  # type: ignore[override]  # of argparse, as in jsonargparse
        self, args: Sequence[str] | None = None, *others: Any, **kwargs: Any
    ) -> Any:
        """Parse options, where the value None is null."""
        return super().parse_args(args and [_null(argument) for argument in args], *others, **kwargs)


def _null(argument: str) -> str:
    option, sign, value = argument.rpartition("=")
    return f"{option}{sign}null" if value == "None" else argument
