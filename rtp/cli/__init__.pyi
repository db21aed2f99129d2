from .app import RtpCLI as RtpCLI
from .app import main as main
from .start import entry_point as entry_point
