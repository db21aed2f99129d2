"""`python -m rtp` is the same as `rtp`."""

from rtp.cli import entry_point

entry_point()
