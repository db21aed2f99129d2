"""The command line: `rtp fit | validate | test | predict | export | info | report | study | sweep | list | plot`.

Names are imported when they are used: `entry_point` answers help and typing errors without the imports of `app`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
