"""`python -m rtp` is the same as `rtp`, and finds modules in the current folder."""

from rtp.cli import entry_point

entry_point()
