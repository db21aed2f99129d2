"""rtp: distil an image data set into addressable memories and train networks from them.

Implements Deng & Russakovsky, "Remember the Past: Distilling Datasets into Addressable Memories for Neural
Networks", NeurIPS 2022.
"""

from rtp.version import __version__

__all__ = ["__version__"]
