"""The arguments of a class, those that it passes on to its base classes by `**kwargs` included."""

import inspect
from dataclasses import is_dataclass
from typing import Any, get_type_hints


def constructor_arguments(cls: type) -> dict[str, Any]:
    """The arguments of a class's constructor and their types, its own before those of its base classes.

    Args:
        cls: A class whose constructor may take `**kwargs`, which then go to the next class in its method resolution
            order that has a constructor.

    Returns:
        The type hint of each argument; None for one without.
    """
    if is_dataclass(cls):
        return get_type_hints(cls)
    found: dict[str, Any] = {}
    for owner in cls.__mro__:
        if "__init__" not in vars(owner):
            continue
        constructor = vars(owner)["__init__"]
        parameters = list(inspect.signature(constructor).parameters.values())[1:]
        hints = get_type_hints(constructor)
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        found = {p.name: hints.get(p.name) for p in parameters if p.kind not in variadic} | found
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            break
    return found
