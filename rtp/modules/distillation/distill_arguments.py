"""The arguments of `rtp.distill`: their types, checked before anything is read."""

from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from types import NoneType
from typing import Any

from torch import nn

from rtp.errors import UserError
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.memories.number_formats import STORED_TYPES

ARGUMENT_TYPES: dict[str, tuple[type, ...]] = {
    "images_per_class": (Real,),
    "num_bases": (Integral, NoneType),
    "stored_as": (str,),
    "augmentation": (Augmentation, NoneType),
    "zca": (Real, NoneType),
    "class_names": (Sequence, NoneType),
    "classes": (Sequence, NoneType),
    "classes_per_step": (Integral, NoneType),
    "steps": (Integral,),
    "minutes": (Real, NoneType),
    "inner_steps": (Integral, NoneType),
    "validation": (Real,),
    "seed": (Integral,),
    "accelerator": (str,),
    "run_dir": (str, Path, NoneType),
    "progress": (bool,),
}
"""Types of those arguments of `distill` that have a simple one; NumPy's numbers are Integral and Real, too."""
NAMES = {Real: "a number", Integral: "an integer", NoneType: "None", Sequence: "a list", str: "a string"}
"""What messages call these types; others by their name."""


def check_arguments(given: dict[str, Any]) -> None:
    """Refuse arguments of `distill` of another type than its signature has, before anything is read.

    Raises:
        UserError: For the first one.
    """
    for name, kinds in ARGUMENT_TYPES.items():
        value = given[name]
        words = ("auto",) if name == "augmentation" else ()
        usable = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
        if not usable and not (isinstance(value, str) and value in words):
            wanted = " or ".join([NAMES.get(kind, kind.__name__) for kind in kinds] + [repr(word) for word in words])
            raise UserError(f"{name} is {value!r:.60}, a {type(value).__name__}: give {wanted}")
    for name, kind in (("class_names", str), ("classes", Integral)):
        values = given[name]
        if isinstance(values, str) or not all(isinstance(value, kind) for value in values or ()):
            raise UserError(f"{name} is {values!r:.60}: give a list, each item {NAMES[kind]}")
    if given["stored_as"] not in STORED_TYPES:
        raise UserError(f"stored_as is {given['stored_as']!r:.60}: give one of {', '.join(STORED_TYPES)}")
    network, size = given["network"], given["image_size"]
    if isinstance(network, nn.Module) or not (network is None or callable(network)):
        raise UserError(
            f"network is a {type(network).__name__}: give what builds one from (image_shape, num_classes), such as the "
            "class or functools.partial(ConvNet, width=64), as each evaluation trains fresh ones"
        )
    if not (size is None or isinstance(size, int) or (isinstance(size, tuple) and len(size) == 2)):
        raise UserError(f"image_size is {size!r}: give one number or (height, width)")
