"""LightningModules, and the nn.Modules and pure functions they are made of."""

from rtp.modules.augmentation import Augmentation, FlipOrRotate
from rtp.modules.distillation import MemoryDistillation
from rtp.modules.inner_optimizer import InnerAdam, InnerOptimizer, InnerSGD
from rtp.modules.memory import AddressableMemory, Memory, MemoryFactory, PixelMemory
from rtp.modules.networks import MLP, AlexNet, ConvNet, Network, NetworkFactory, ResNet12
from rtp.modules.stepwise import StepwiseUnroll
from rtp.modules.unroll import HigherUnroll, Unroll
from rtp.modules.window import LastSteps, RandomWindow, Window

__all__ = [
    "MLP",
    "AddressableMemory",
    "AlexNet",
    "Augmentation",
    "ConvNet",
    "FlipOrRotate",
    "HigherUnroll",
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
    "StepwiseUnroll",
    "Unroll",
    "Window",
]
