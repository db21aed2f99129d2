"""The classes that a configuration can name without their module: `--data CIFAR10`, `--model GradientMatching`."""

import inspect
from types import ModuleType

import rtp.datamodules
import rtp.modules


def public_classes(module: ModuleType) -> dict[str, type]:
    """A module's public classes by name, those of `__all__` if there is one; not those of other packages.

    Lazy names are imported now.
    """
    package = module.__name__.partition(".")[0]
    values = {name: getattr(module, name) for name in getattr(module, "__all__", list(vars(module)))}
    return {
        name: value
        for name, value in values.items()
        if inspect.isclass(value) and not name.startswith("_") and value.__module__.partition(".")[0] == package
    }


def register_short_names() -> dict[str, type]:
    """Import every class that a configuration can name; jsonargparse resolves a short name among imported classes.

    Returns:
        The classes by the path that configurations record, such as "rtp.modules.MemoryDistillation".
    """
    return {
        f"{module.__name__}.{name}": cls
        for module in (rtp.modules, rtp.datamodules)
        for name, cls in public_classes(module).items()
    }
