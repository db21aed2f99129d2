"""What a constructor takes, through `**kwargs` too."""

from dataclasses import dataclass
from typing import Any

from rtp.cli.signatures import constructor_arguments


class Base:
    def __init__(self, width: int, depth: float = 1.0) -> None:
        pass


class Passing(Base):
    def __init__(self, *args: Any, depth: int, name: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"depth": depth})


class Silent(Passing):
    pass


class Closed(Base):
    def __init__(self, name: str) -> None:
        super().__init__(1)


@dataclass
class Record:
    epochs: int = 3


def test_arguments_are_followed_up_to_the_class_that_takes_no_others() -> None:
    assert constructor_arguments(Passing) == {"width": int, "depth": int, "name": str}
    assert constructor_arguments(Silent) == constructor_arguments(Passing)
    assert constructor_arguments(Closed) == {"name": str}
    assert constructor_arguments(Record) == {"epochs": int}
