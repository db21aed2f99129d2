"""LightningModules, and the nn.Modules and pure functions they are made of."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rtp.modules.augmentation import Augmentation, FlipOrRotate
from rtp.modules.image_addressing import ImageAddressing
from rtp.modules.inner_optimizer import InnerAdam, InnerOptimizer, InnerSGD
from rtp.modules.memory import AddressableMemory, Memory, MemoryFactory, PixelMemory
from rtp.modules.networks import MLP, AlexNet, ConvNet, Network, NetworkFactory, ResNet12
from rtp.modules.siamese import SiameseAugmentation
from rtp.modules.stepwise import StepwiseUnroll
from rtp.modules.unroll import HigherUnroll, Unroll
from rtp.modules.window import LastSteps, RandomWindow, Window

if TYPE_CHECKING:
    from rtp.modules.base import Distillation
    from rtp.modules.distillation import MemoryDistillation
    from rtp.modules.distribution_matching import DistributionMatching
    from rtp.modules.gradient_matching import GradientMatching
    from rtp.modules.image_distillation import ImageAddressedDistillation
    from rtp.modules.task_distillation import TaskDistillation
    from rtp.modules.trajectory_matching import TrajectoryMatching

LIGHTNING_MODULES = {
    "Distillation": "base",
    "DistributionMatching": "distribution_matching",
    "GradientMatching": "gradient_matching",
    "ImageAddressedDistillation": "image_distillation",
    "MemoryDistillation": "distillation",
    "TaskDistillation": "task_distillation",
    "TrajectoryMatching": "trajectory_matching",
}
"""Where each LightningModule is."""

__all__ = [
    "MLP",
    "AddressableMemory",
    "AlexNet",
    "Augmentation",
    "ConvNet",
    "Distillation",
    "DistributionMatching",
    "FlipOrRotate",
    "GradientMatching",
    "HigherUnroll",
    "ImageAddressedDistillation",
    "ImageAddressing",
    "InnerAdam",
    "InnerOptimizer",
    "InnerSGD",
    "LastSteps",
    "Memory",
    "MemoryDistillation",
    "MemoryFactory",
    "Network",
    "NetworkFactory",
    "PixelMemory",
    "RandomWindow",
    "ResNet12",
    "SiameseAugmentation",
    "StepwiseUnroll",
    "TaskDistillation",
    "TrajectoryMatching",
    "Unroll",
    "Window",
]


def __getattr__(name: str) -> Any:
    # imported when it is asked for: a program that trains on a loaded memory needs no Lightning
    if name in LIGHTNING_MODULES:
        return getattr(import_module(f"rtp.modules.{LIGHTNING_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
