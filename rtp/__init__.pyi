from .api import distill as distill
from .artefact import load as load
from .version import __version__ as __version__
