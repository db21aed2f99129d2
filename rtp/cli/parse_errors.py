"""Condense jsonargparse's errors, which list every alternative it tried, to one line with the value and the fix."""

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from itertools import takewhile
from pkgutil import resolve_name

from rtp.cli.commands.own_classes import public_classes
from rtp.cli.library_errors import as_user_error
from rtp.cli.signatures import constructor_arguments
from rtp.errors import UserError

LINKED = ("image_shape", "num_classes", "total_classes", "num_tasks")
"""Arguments of modules that come from the data, not from the user."""
LIBRARIES = ("torch.optim", "torch.optim.lr_scheduler", "lightning.pytorch.callbacks")
"""Modules whose classes configurations name by their full paths."""

_CONTEXT = re.compile(r'(?:Parser key "(?P<key>[^"]+)"|Problem with given class_path \'(?P<cls>[^\']+)\'):$')
_OF_A_CALLABLE = re.compile(r"^Type \S+\[.*?\] expects a function or a callable class: ")
# Messages about other members of a union, and values, which repeat the configuration.
_NOISE = re.compile(r"Does not validate against|Subtypes:|Errors:|Given value|Expected a <class 'NoneType'>|$")


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn errors of jsonargparse, and of libraries below, into a UserError of one line; see `as_user_error`."""
    try:
        yield
    except argparse.ArgumentError as error:
        raise UserError(one_line(str(error))) from error
    except Exception as error:
        # jsonargparse wraps what a constructor raises into its own ValueError
        cause: BaseException | None = error if isinstance(error, ValueError) else None
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            raise cause from None
        if "must be a mapping, not NoneType" in str(error):  # null for a dataclass
            what = "a group of settings, such as model.few_shot or evaluation.protocol, is null"
            raise UserError(f"{what}: leave the option out, or give the settings one by one") from error
        if (known := as_user_error(error)) is None:
            raise
        raise known from error


def one_line(message: str) -> str:
    """Condense jsonargparse's message, a line for each level of the configuration, to place, fault and fix."""
    keys: list[str] = []
    owner = ""
    joined = " ".join(message.split())
    if "Problem with given class_path" not in message and "Does not validate" not in message:
        return _said(re.sub(r'^Parser key "([^"]+)": ', r"\1: ", joined), owner)
    lines = [_OF_A_CALLABLE.sub("", line.strip().removeprefix("- ")) for line in message.splitlines()]
    for number, text in enumerate(lines):
        if context := _CONTEXT.match(text):
            keys += [context["key"]] if context["key"] else []
            owner = context["cls"] or owner
        elif not _NOISE.match(text):
            union = list(takewhile(lambda line: not line.startswith("Given value"), lines[number:]))
            numbers = [line for line in union if re.match(r"Expected a <class '(?:int|float)'>$", line)]
            said = _said(numbers[0] if numbers else text, owner)
            if re.fullmatch(r"expected \w+", said):  # a member of a union, whose value follows
                given = next((line for line in lines[number:] if line.startswith("Given value: ")), "")
                said += ", got " + given.removeprefix("Given value: ").partition(". Got value:")[0]
            return f"{'.'.join(keys)}: {said}" if keys else said
    return joined


def _said(text: str, owner: str) -> str:
    class_path = re.search(r"Got value: Namespace\(class_path='([\w.]+)'", text)
    owner = class_path[1] if class_path else owner
    text = re.sub(r"\.? Got value: Namespace\(.*", "", text)
    text = re.sub(r"(?:Expected a|Not of type) typing\.Literal\[(.*?)\]", r"expected one of \1", text)
    text = re.sub(r"Expected an? <class '(\w+)'>", r"expected \1", text)
    text = re.sub(r"\. Got value: ", ", got ", text)
    if match := re.match(r"Expected a (?:dot import path string: (.*)|path but (.*) either not accessible)", text):
        return _no_class(match[1] or match[2])
    if text.startswith("No module named"):
        return f"{text}; install it, or run rtp in the folder that holds it"
    if re.match(r"(?:Option .* is not accepted|unrecognized arguments)", text) and owner:
        taken = [name for name in constructor_arguments(resolve_name(owner)) if name not in LINKED]
        wrong = re.search(r"[Oo]ption '([\w.]+)'|--?[\w.]*?(\w+)(?:=|$)", text)
        close = get_close_matches((wrong[1] or wrong[2]).rpartition(".")[2], taken, n=1) if wrong else []
        hint = f"; did you mean {close[0]}?" if close else ""
        return f"{text} by {owner.rsplit('.', 1)[-1]}, which takes {', '.join(taken) or 'none'}{hint}"
    if "unrecognized arguments" in text or "does not accept option" in text:
        return f"{text}; --help lists the options"
    return text


def _no_class(name: str) -> str:
    if not re.match(r"[A-Za-z_./~]", name):
        return f"{name!r} is no class, no file and no mapping of settings, such as '{{name: value}}'"
    if "/" in name or name.endswith((".yaml", ".yml", ".json")):
        return f"there is no file {name!r}; give the path of one, or a class"
    known = {own.name: own.name for own in public_classes()}
    for module in LIBRARIES:
        known |= {other: f"{module}.{other}" for other in dir(import_module(module)) if other[0].isupper()}
    longer = [other for other in known if other.lower().startswith(name.lower())]
    close = longer or get_close_matches(name, known, n=1)
    hint = f" (did you mean {known[close[0]]}?)" if close else ""
    return f"there is no class {name!r}; use one of rtp's{hint} or the full path of your own, module.Class"
