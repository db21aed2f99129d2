"""`rtp list`: the classes that a configuration can name, and what rtp ships, with a line on each."""

import csv
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import takewhile
from pkgutil import resolve_name
from types import ModuleType

from rtp.cli.commands import own_classes
from rtp.cli.commands.parser import Parser
from rtp.errors import UserError
from rtp.utils.shipped import PACKAGE, shipped
from rtp.utils.tables import text_table

KINDS = {
    "data sets (--data)": "rtp.datamodules:ImageDataModule",
    "streams of tasks (--data)": "rtp.datamodules:TaskStream",
    "models (--model)": "lightning:LightningModule",
    "memories (--model.memory)": "rtp.modules:Memory",
    "networks (--model.network, --evaluation.architectures)": "rtp.modules:Network",
    "inner loops (--model.unroll)": "rtp.modules:Unroll",
    "windows of an inner loop (--model.unroll.window)": "rtp.modules:Window",
    "inner optimizers (--model.inner_optimizer)": "rtp.modules:InnerOptimizer",
    "augmentations (--model.augmentation)": "rtp.modules:Augmentation",
    "callbacks (rtp's are part of every run, others come by --trainer.callbacks)": "lightning:Callback",
}
"""Each kind with the option that takes it, and its base class."""
SHOWN = {
    "memory": "name",
    "data set": "data",
    "numbers": "stored_as",
    "bytes": "bytes",
    "bits/class": "bits_per_class",
    "images/class": "images_per_class",
    "accuracy (%)": "accuracy",
    "ResNet-18 (%)": "resnet18",
}
"""Headings of `rtp list memories`, and columns of the table that it shows."""


@dataclass(frozen=True)
class Part:
    """A class that a configuration can name.

    Attributes:
        name: In a configuration: the class name of rtp's own, the full path of others.
        summary: The first line of its docstring, or "".
    """

    name: str
    summary: str


def show(args: Sequence[str]) -> None:
    """Run `rtp list` with the arguments after `list`; UserError if one cannot be used."""
    parser = Parser(
        prog="rtp list",
        description="Show the data sets, memories, networks, ... that a configuration can name: rtp's own by their "
        "class names, others by module.Class. `rtp list configs` shows the configurations that rtp ships, `rtp list "
        "memories` its memories.",
    )
    what = "configs, memories, or modules of yours whose classes are shown as well, such as my_data"
    parser.add_argument("modules", metavar="WHAT", nargs="*", help=what)
    modules = parser.parse_args(args).modules
    if modules == ["configs"]:
        print(format_parts({"configurations (rtp fit --config NAME; studies: rtp study NAME)": configurations()}))
    elif modules == ["memories"]:
        print(memory_table())
    else:
        print(format_parts(available(modules)))


def configurations() -> list[Part]:
    """The shipped configurations, with the first sentences of their headers."""
    parts = []
    for name, path in shipped("configs").items():
        lines = path.read_text(encoding="utf-8").splitlines()
        header = " ".join(
            line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines)
        )
        sentence = re.split(r"(?<=[.?]) (?=[A-Z])", header)[0]
        parts.append(Part(name, sentence.removesuffix(".")))
    return parts


def memory_table() -> str:
    """The shipped memories with what they take and reach, from the table beside them."""
    with (PACKAGE / "memories" / "memories.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return text_table(list(SHOWN), [[row[column] for column in SHOWN.values()] for row in rows], words=2)


def available(modules: Sequence[str] = ()) -> dict[str, list[Part]]:
    """Find the parts in rtp, and those with one of rtp's bases in other modules, which are imported.

    Returns:
        The parts of each kind of `KINDS`, rtp's own first, each sorted by name.

    Raises:
        UserError: If a module cannot be imported.
    """
    return {kind: [*_own(base), *_others(modules, base)] for kind, base in KINDS.items()}


def _own(base: str) -> Iterator[Part]:
    package, name = base.split(":")
    # as rtp's files write Lightning's classes; its other callbacks are bases of rtp's callbacks alone
    name = f"L.{name}" if package == "lightning" else name
    for own in own_classes.public_classes():
        if (name in own.bases or (name == "L.Callback" and own.package == "callbacks")) and not own.abstract:
            yield Part(own.name, own.summary)


def _others(modules: Sequence[str], base: str) -> Iterator[Part]:
    if not modules:
        return
    from rtp.cli.short_names import public_classes  # imports torch and Lightning, as the modules do

    wanted: type = resolve_name(base)
    others = [(f"{name}.{cls.__name__}", cls) for name in modules for cls in public_classes(_imported(name)).values()]
    for path, cls in sorted(others, key=lambda found: found[0].lower()):
        if _is(cls, wanted):
            yield Part(path, (inspect.getdoc(cls) or "").partition("\n")[0])


def format_parts(parts: dict[str, list[Part]]) -> str:
    """Lay out the result of `available`: a heading for each kind that has parts, a line for each part."""
    blocks = []
    for kind, found in parts.items():
        width = max((len(part.name) for part in found), default=0)
        lines = [f"  {part.name.ljust(width)}  {part.summary}".rstrip() for part in found]
        blocks += ["\n".join([kind, *lines])] if found else []
    return "\n\n".join(blocks)


def _imported(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(
            f"the module {name!r} cannot be imported ({error}): give its name as in a class path, and run rtp in the "
            "folder that holds it"
        ) from error


def _is(cls: type, base: type) -> bool:
    """Whether a class can be used where a base is wanted; networks need no base, see `NetworkFactory`."""
    if inspect.isabstract(cls):
        return False
    if base.__name__ == "Network" and _is_module(cls):
        return list(inspect.signature(cls).parameters)[:2] == ["image_shape", "num_classes"]
    return issubclass(cls, base)


def _is_module(cls: type) -> bool:
    names = {f"{parent.__module__}.{parent.__name__}" for parent in cls.__mro__}
    return "torch.nn.modules.module.Module" in names and not names & {
        "rtp.modules.memories.base.Memory",
        "lightning.pytorch.core.module.LightningModule",
    }
