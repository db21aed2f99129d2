"""The types of `rtp.distill`'s arguments; how its messages reach a user is in tests/test_api.py."""

import inspect
from typing import Any

import pytest

import rtp
from rtp.errors import UserError
from rtp.modules.distillation.distill_arguments import ARGUMENT_TYPES, check_arguments

PARAMETERS = inspect.signature(rtp.distill).parameters
OTHERS = {"dataset", "network", "image_size"}
"""Arguments with more forms than a type says."""


def arguments(**changes: Any) -> dict[str, Any]:
    defaults = {name: parameter.default for name, parameter in PARAMETERS.items()}
    return defaults | {"dataset": None, "images_per_class": 1} | changes


def test_each_argument_is_checked_and_the_defaults_pass() -> None:
    assert set(ARGUMENT_TYPES) | OTHERS == set(PARAMETERS)
    check_arguments(arguments())


@pytest.mark.parametrize("name", sorted(set(PARAMETERS) - {"dataset"}))
def test_an_argument_of_another_type_is_named(name: str) -> None:
    with pytest.raises(UserError, match=rf"^{name} is "):
        check_arguments(arguments(**{name: {1: 2}}))


@pytest.mark.parametrize("stored_as", ["int2", "INT8", ""])
def test_an_unknown_format_is_named_with_the_known_ones(stored_as: str) -> None:
    with pytest.raises(UserError, match=rf"^stored_as is '{stored_as}': give one of float32, float16, int8, int4$"):
        check_arguments(arguments(stored_as=stored_as))
