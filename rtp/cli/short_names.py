"""The classes that a configuration can name without their module: `--data CIFAR10`, `--model GradientMatching`."""

import inspect
from types import ModuleType

import rtp.datamodules
import rtp.modules


def public_classes(module: ModuleType) -> dict[str, type]:
    """The public classes of a module or package, without imported ones, by name.

    Args:
        module: If it has an `__all__`, only those names; lazy names are imported now.
    """
    package = module.__name__.partition(".")[0]
    found = {}
    for name in getattr(module, "__all__", list(vars(module))):
        value = getattr(module, name)
        if inspect.isclass(value) and not name.startswith("_") and value.__module__.partition(".")[0] == package:
            found[name] = value
    return found


def register_short_names() -> dict[str, type]:
    """Import every class that a configuration can name; jsonargparse resolves a name among the classes it can see.

    Returns:
        The classes by the path that configurations record, such as "rtp.modules.MemoryDistillation".
    """
    return {
        f"{module.__name__}.{name}": cls
        for module in (rtp.modules, rtp.datamodules)
        for name, cls in public_classes(module).items()
    }
