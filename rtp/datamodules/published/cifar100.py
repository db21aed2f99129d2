"""CIFAR-100: 50,000 training and 10,000 test images of 32x32 colour pixels in 100 fine classes."""

from torchvision import datasets

from rtp.datamodules.published.cifar10 import CIFAR10

# fine_label_names of the published meta file: alphabetical
FINE_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""


class CIFAR100(CIFAR10):
    """CIFAR-100 with its fine labels, from `cifar-100-python/` below the data root."""

    source = datasets.CIFAR100
    class_names = tuple(FINE_CLASSES.split())
