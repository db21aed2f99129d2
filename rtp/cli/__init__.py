"""The command line: `rtp fit | validate | test | predict | export | info | study | sweep | list | plot`."""

from rtp.cli.app import RtpCLI, entry_point, main

__all__ = ["RtpCLI", "entry_point", "main"]
