"""The networks trained on recalled images (sections A.1 and A.2)."""

from rtp.modules.networks.alexnet import AlexNet
from rtp.modules.networks.base import Network, NetworkFactory
from rtp.modules.networks.convnet import ConvNet
from rtp.modules.networks.mlp import MLP
from rtp.modules.networks.resnet12 import ResNet12

__all__ = ["MLP", "AlexNet", "ConvNet", "Network", "NetworkFactory", "ResNet12"]
