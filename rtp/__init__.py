"""rtp: distil an image data set into addressable memories and train networks from them.

Implements Deng & Russakovsky, "Remember the Past: Distilling Datasets into Addressable Memories for Neural
Networks", NeurIPS 2022.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rtp.version import __version__

if TYPE_CHECKING:
    from rtp.artefact import load
    from rtp.library import distill

__all__ = ["__version__", "distill", "load"]

# What is imported when it is asked for: `import rtp` is cheap, and `rtp.load` takes no Lightning.
_LAZY = {"distill": "rtp.library", "load": "rtp.artefact"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
