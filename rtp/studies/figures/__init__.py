"""Figures of memories and of studies, for papers: PNG and PDF by matplotlib."""

from importlib.util import find_spec

from rtp.errors import UserError

if find_spec("matplotlib") is None:
    raise UserError("figures need the library `matplotlib`: pip install matplotlib")
