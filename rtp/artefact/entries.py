"""Reading dataclasses from the JSON of an untrusted file, checked against their type hints."""

import math
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from rtp.errors import DataError

Record = TypeVar("Record")


def read_record(cls: type[Record], content: dict[str, Any]) -> Record:
    """Build a dataclass from a JSON object, ignoring entries that are not its fields.

    Fields are whole numbers of at least 0, finite floats, texts, literals, tuples, dicts, dataclasses, or one of these
    or None.

    Raises:
        DataError: If an entry is missing or of another type.
    """
    values = {}
    for name, hint in get_type_hints(cls).items():
        if name not in content:
            raise DataError(f"its description has no {name}")
        values[name] = _read(name, content[name], hint)
    return cls(**values)


def shown(value: Any, most: int = 40) -> str:
    """An untrusted value as ASCII text, cut off after `most` characters."""
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        text = type(value).__name__
    return text if len(text) <= most else f"{text[:most]}..."


def _read(name: str, value: Any, hint: Any) -> Any:
    if value is None and NoneType in get_args(hint):
        return None
    if isinstance(hint, UnionType):  # for a list its tuple, or else its first member
        tuples = [member for member in get_args(hint) if get_origin(member) is tuple and isinstance(value, list)]
        hint = (tuples or get_args(hint))[0]
    if not _is(value, hint):
        raise DataError(f"{name} of its description is {shown(value)}, not {_words(hint)}")
    if is_dataclass(hint) and isinstance(hint, type):
        return read_record(hint, value)
    members = get_args(hint)
    if get_origin(hint) is tuple:
        if members[-1] is not Ellipsis and len(members) != len(value):
            raise DataError(f"{name} has {len(value)} entries, not {len(members)}")
        return tuple(_read(name, item, members[0]) for item in value)
    if get_origin(hint) is dict and members[1] is not Any:
        return {key: _read(shown(key).strip("'"), item, members[1]) for key, item in value.items()}
    return float(value) if hint is float else value


def _is(value: Any, hint: Any) -> bool:
    if hint is int:  # JSON's own integers end at 2**53, and True is one of Python's
        return type(value) is int and 0 <= value < 2**53
    if hint is float:  # an integer may be too large for a float
        return type(value) in (int, float) and abs(value) <= 1e300 and math.isfinite(value)
    if hint is str or get_origin(hint) is Literal:
        return isinstance(value, str) and (hint is str or value in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, list) and all(_is(item, get_args(hint)[0]) for item in value)
    return isinstance(value, dict)


def _words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(get_args(hint))
    if get_origin(hint) is tuple:
        item, of, rest = _words(get_args(hint)[0]).partition(" of ")
        return f"a list of {item.partition(' ')[2]}s{of}{rest}"
    return {int: "a count", float: "a finite number", str: "a text"}.get(hint, "an object")
