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
    from rtp.modules.continual.base import ContinualLearner
    from rtp.modules.continual.compress_then_recall import CompressThenRecall
    from rtp.modules.continual.ewc import EWC
    from rtp.modules.continual.experience_replay import ExperienceReplay
    from rtp.modules.continual.gem import GEM
    from rtp.modules.continual.maml import CMAML, LaMAML
    from rtp.modules.continual.mer import MER
    from rtp.modules.continual.multitask import Multitask
    from rtp.modules.continual.online import Online
    from rtp.modules.distillation import MemoryDistillation
    from rtp.modules.distribution_matching import DistributionMatching
    from rtp.modules.gradient_matching import GradientMatching
    from rtp.modules.image_distillation import ImageAddressedDistillation
    from rtp.modules.task_distillation import TaskDistillation
    from rtp.modules.trajectory_matching import TrajectoryMatching

LIGHTNING_MODULES = {
    "CMAML": "continual.maml",
    "CompressThenRecall": "continual.compress_then_recall",
    "ContinualLearner": "continual.base",
    "Distillation": "base",
    "DistributionMatching": "distribution_matching",
    "EWC": "continual.ewc",
    "ExperienceReplay": "continual.experience_replay",
    "GEM": "continual.gem",
    "GradientMatching": "gradient_matching",
    "ImageAddressedDistillation": "image_distillation",
    "LaMAML": "continual.maml",
    "MER": "continual.mer",
    "MemoryDistillation": "distillation",
    "Multitask": "continual.multitask",
    "Online": "continual.online",
    "TaskDistillation": "task_distillation",
    "TrajectoryMatching": "trajectory_matching",
}
"""Where each LightningModule is."""

__all__ = [
    "CMAML",
    "EWC",
    "GEM",
    "MER",
    "MLP",
    "AddressableMemory",
    "AlexNet",
    "Augmentation",
    "CompressThenRecall",
    "ContinualLearner",
    "ConvNet",
    "Distillation",
    "DistributionMatching",
    "ExperienceReplay",
    "FlipOrRotate",
    "GradientMatching",
    "HigherUnroll",
    "ImageAddressedDistillation",
    "ImageAddressing",
    "InnerAdam",
    "InnerOptimizer",
    "InnerSGD",
    "LaMAML",
    "LastSteps",
    "Memory",
    "MemoryDistillation",
    "MemoryFactory",
    "Multitask",
    "Network",
    "NetworkFactory",
    "Online",
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
