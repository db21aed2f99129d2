"""rtp: distil an image data set into addressable memories and train networks from them.

Implements Deng & Russakovsky, "Remember the Past: Distilling Datasets into Addressable Memories for Neural
Networks", NeurIPS 2022.

Names are imported when they are first used (`__init__.pyi` lists them): `import rtp` is cheap, and `rtp.load` takes
neither Lightning nor `higher`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
