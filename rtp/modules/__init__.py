"""LightningModules, and the nn.Modules and pure functions they are made of.

The names that a configuration can use, `rtp.modules.X` or X alone; `__init__.pyi` lists them with their files.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
