"""A JSON object from an untrusted file, whose entries are checked as they are read."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

from rtp.errors import DataError

Value = TypeVar("Value")


class Entries:
    """Entries of a JSON object, read by name and type.

    Args:
        content: The object.

    Raises:
        DataError: By each of the methods, if there is no such entry or it is of another type.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    def integer(self, name: str) -> int:
        """A whole number of at least 0."""
        return self._checked(name, _is_count, "a count")

    def integers(self, name: str) -> list[int]:
        """A list of whole numbers of at least 0."""
        return self._checked(name, lambda value: _all(value, _is_count), "a list of counts")

    def lists(self, name: str) -> list[list[int]]:
        """A list of lists of whole numbers of at least 0."""
        return self._checked(
            name, lambda value: _all(value, lambda item: _all(item, _is_count)), "a list of lists of counts"
        )

    def number(self, name: str) -> float:
        """A finite number."""

        # an integer may be too large for a float
        def is_number(value: Any) -> bool:
            return type(value) in (int, float) and abs(value) <= 1e300 and math.isfinite(value)

        return float(self._checked(name, is_number, "a finite number"))

    def text(self, name: str) -> str:
        """A text."""
        return self._checked(name, lambda value: isinstance(value, str), "a text")

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        return self._checked(name, lambda value: _all(value, lambda item: isinstance(item, str)), "a list of texts")

    def one_of(self, name: str, values: tuple[Any, ...]) -> Any:
        """One of some texts."""
        return self._checked(name, lambda value: isinstance(value, str) and value in values, " or ".join(values))

    def record(self, name: str) -> "Entries":
        """An object."""
        return Entries(self._checked(name, lambda value: isinstance(value, dict), "an object"))

    def records(self, name: str) -> list["Entries"]:
        """A list of objects."""
        values = self._checked(name, lambda v: _all(v, lambda item: isinstance(item, dict)), "a list of objects")
        return [Entries(value) for value in values]

    def optional(self, name: str, read: Callable[[str], Value]) -> Value | None:
        """What one of these methods reads, or None where the entry is null."""
        return None if name in self.content and self.content[name] is None else read(name)

    def _checked(self, name: str, holds: Any, what: str) -> Any:
        if name not in self.content:
            raise DataError(f"its description has no {name}")
        value = self.content[name]
        if not holds(value):
            raise DataError(f"{name} of its description is {shown(value)}, not {what}")
        return value


def shown(value: Any) -> str:
    """Any value of a file, in a few printable characters."""
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        text = type(value).__name__
    return text if len(text) <= 40 else f"{text[:40]}..."


def _is_count(value: Any) -> bool:
    # JSON's own integers end at 2**53, and True is one of Python's
    return type(value) is int and 0 <= value < 2**53


def _all(value: Any, holds: Any) -> bool:
    return isinstance(value, list) and all(map(holds, value))
