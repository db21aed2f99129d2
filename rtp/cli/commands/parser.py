"""A parser of plain options."""

import argparse
from typing import NoReturn

from rtp.errors import UserError


class Parser(argparse.ArgumentParser):
    """A parser that raises a UserError instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raise the message as a UserError that points to --help."""
        raise UserError(f"{message}; `{self.prog} --help` lists the options")
