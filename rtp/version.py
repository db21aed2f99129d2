"""The one place the version is written; read by the packaging, the command line and checkpoints."""

__version__ = "0.1.0"
