"""The arguments of a class, including those that `**kwargs` passes on to its base classes."""

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints


def constructor_arguments(cls: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of a function or constructor with their type hints, None without; those of base classes first.

    `**kwargs` of a constructor go to the next one in the method resolution order.
    """
    if not inspect.isclass(cls):
        return {name: get_type_hints(cls).get(name) for name in inspect.signature(cls).parameters}
    found: dict[str, Any] = {}
    for constructor in (vars(owner)["__init__"] for owner in cls.__mro__ if "__init__" in vars(owner)):
        parameters = list(inspect.signature(constructor).parameters.values())[1:]
        hints = get_type_hints(constructor)
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        found = {p.name: hints.get(p.name) for p in parameters if p.kind not in variadic} | found
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            break
    return found
