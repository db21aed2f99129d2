"""Processor time of the command line up to its first line: `python -m benchmarks.startup [CHECKOUT]`.

Measures another checkout, such as an older commit, with the same Python where its folder is given.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "rtp --version": ["--version"],
    "rtp --help": ["--help"],
    "rtp fit --help": ["fit", "--help"],
    "rtp list": ["list"],
    "a misspelled command": ["fti"],
    "a misspelled option": ["fit", "--modle", "x"],
    "a misspelled class": ["fit", "--data", "Digts"],
    "rtp info FILE": ["info", "FILE"],
    "rtp export FILE": ["export", "FILE", "copy.safetensors", "--overwrite"],
    "rtp fit, to its first line": ["fit", "--config", str(ROOT / "configs" / "digits_ipc1.yaml")],
}


def seconds(checkout: Path, arguments: list[str], folder: Path) -> float:
    """User and system time of a command until it prints its first line, or ends.

    Args:
        checkout: Folder of rtp's source.
        arguments: Of the command.
        folder: Where it runs.
    """
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "rtp", *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as p:
        assert p.stdout is not None
        p.stdout.readline()
        fields = Path(f"/proc/{p.pid}/stat").read_text().rpartition(")")[2].split()
        p.kill()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, see proc(5)


def main() -> None:
    """Print the median of three, a line a command."""
    checkout = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT).resolve()
    memory = str(ROOT / "memories" / "digits_ipc1.safetensors")
    with TemporaryDirectory() as folder:  # for what the commands write before they are ended
        for name, arguments in COMMANDS.items():
            given = [memory if argument == "FILE" else argument for argument in arguments]
            print(f"{sorted(seconds(checkout, given, Path(folder)) for _ in range(3))[1]:6.2f} s  {name}", flush=True)


if __name__ == "__main__":
    main()
