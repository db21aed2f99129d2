"""Lightning data modules: one file a data set, named after it."""

from rtp.datamodules.base import ImageDataModule
from rtp.datamodules.cifar10 import CIFAR10
from rtp.datamodules.cifar100 import CIFAR100
from rtp.datamodules.digits import Digits
from rtp.datamodules.fashion_mnist import FashionMNIST
from rtp.datamodules.hugging_face import HuggingFace
from rtp.datamodules.image_folder import ImageFolder
from rtp.datamodules.mnist import MNIST
from rtp.datamodules.streams import IncrementalClasses, PermutedTasks, RotatedTasks, TaskStream
from rtp.datamodules.svhn import SVHN
from rtp.datamodules.tiny_imagenet import TinyImageNet
from rtp.datamodules.torch_dataset import TorchDataset

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "SVHN",
    "Digits",
    "FashionMNIST",
    "HuggingFace",
    "ImageDataModule",
    "ImageFolder",
    "IncrementalClasses",
    "PermutedTasks",
    "RotatedTasks",
    "TaskStream",
    "TinyImageNet",
    "TorchDataset",
]
