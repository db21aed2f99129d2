"""The arguments of a class, those that it passes on to its base classes by `**kwargs` included."""

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints


def constructor_arguments(cls: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of a class's constructor and their types, those of its base classes first.

    Args:
        cls: A function or a class; `**kwargs` of its constructor go to the next one in its method resolution order.

    Returns:
        The type hint of each argument; None for one without.
    """
    if not inspect.isclass(cls):
        return {name: get_type_hints(cls).get(name) for name in inspect.signature(cls).parameters}
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
