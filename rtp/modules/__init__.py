"""LightningModules, and the nn.Modules and pure functions they are made of."""

from rtp.modules.augmentation import Augmentation, FlipOrRotate
from rtp.modules.distillation import MemoryDistillation
from rtp.modules.inner_optimizer import InnerOptimizer, InnerSGD
from rtp.modules.memory import AddressableMemory, Memory, MemoryFactory, PixelMemory
from rtp.modules.networks import MLP, AlexNet, ConvNet, Network, NetworkFactory, ResNet12
from rtp.modules.unroll import HigherUnroll, Unroll

__all__ = [
    "MLP",
    "AddressableMemory",
    "AlexNet",
    "Augmentation",
    "ConvNet",
    "FlipOrRotate",
    "HigherUnroll",
    "InnerOptimizer",
    "InnerSGD",
    "Memory",
    "MemoryDistillation",
    "MemoryFactory",
    "Network",
    "NetworkFactory",
    "PixelMemory",
    "ResNet12",
    "Unroll",
]
