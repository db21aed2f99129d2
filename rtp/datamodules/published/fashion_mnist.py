"""Fashion-MNIST: pictures of clothes, 60,000 training and 10,000 test images of 28x28 grey pixels."""

from torchvision import datasets

from rtp.datamodules.published.mnist import MNIST


class FashionMNIST(MNIST):
    """Fashion-MNIST, from the four idx files in `FashionMNIST/raw/` below the data root."""

    source = datasets.FashionMNIST
    class_names = tuple(datasets.FashionMNIST.classes)
