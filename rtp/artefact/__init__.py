"""A distilled memory as one self-contained file: `rtp export` writes it, `rtp.load` opens it without Lightning."""

from rtp.artefact.layout import Accuracy, Description, Protocol, Stream
from rtp.artefact.loaded import DistilledMemory, load

__all__ = ["Accuracy", "Description", "DistilledMemory", "Protocol", "Stream", "load"]
