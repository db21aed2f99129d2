"""What happens where matplotlib is not installed; runs with and without it."""

import subprocess
import sys

import pytest

from rtp.cli.commands.registry import OTHER_COMMANDS
from rtp.errors import UserError


def test_without_matplotlib_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        name for name in sys.modules if name.partition(".")[0] == "matplotlib" or name.startswith("rtp.studies.figures")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"^figures need the library `matplotlib`: pip install matplotlib$"):
        OTHER_COMMANDS["plot"](["bases", "memory.safetensors", "--out", "bases"])


def test_rtp_does_not_import_matplotlib() -> None:
    code = "import sys, rtp; print('matplotlib' in sys.modules or 'rtp.studies.figures' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
