"""The configurations and memories that rtp ships: files of the repository and of the wheel, by their names."""

from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from rtp.errors import UserError

Kind = Literal["configs", "memories"]
SUFFIXES: dict[Kind, str] = {"configs": ".yaml", "memories": ".safetensors"}
_ONE: dict[Kind, str] = {"configs": "configuration", "memories": "memory"}
PACKAGE = Path(__file__).parents[1]
"""The folder of the package, which has one of each kind: in a checkout, links to the repository's folders."""


def shipped(kind: Kind, inside: str = "") -> dict[str, Path]:
    """The files of a kind by their names: paths in its folder without the suffix, such as "cpu/mnist_ipc1".

    Args:
        kind: What they are.
        inside: A folder of the kind's; names are paths in it.
    """
    folder = PACKAGE / kind / inside
    paths = sorted(folder.rglob(f"*{SUFFIXES[kind]}"), key=lambda path: (len(path.parts), path))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}


def find(kind: Kind, name: str | Path, inside: str = "") -> Path:
    """The file that a user names; a path of theirs wins, and what looks like a path is one.

    Args:
        kind: What it is.
        name: A path, or a name of `shipped`.
        inside: See `shipped`.

    Raises:
        UserError: If it is a bare name that no file and nothing shipped has.
    """
    path, text = Path(name), str(name)
    if inside:
        text = text.removeprefix(f"{inside}/")
    known = shipped(kind, inside)
    if text in known and not path.is_file():
        return known[text]
    if path.exists() or not _is_name(text, known):
        return path
    close = get_close_matches(text, known, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]}?" if close else f"`rtp list {kind}` shows them"
    raise UserError(f"{text!r} is no file, and rtp ships no such {_ONE[kind]}: {hint}")


def _is_name(text: str, known: dict[str, Path]) -> bool:
    """Whether a text without a file is meant as a name: it has no suffix, and no folder but one of rtp's."""
    folder, _, last = text.rpartition("/")
    folders = {name.rpartition("/")[0] for name in known}
    return bool(last) and "." not in last and "\\" not in last and folder in folders
