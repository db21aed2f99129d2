"""The base of the two modules of section 5.3: classifiers for sets of classes that have none yet."""

from abc import abstractmethod

from torch import Tensor

from rtp.modules.distillation.unrolled import UnrolledDistillation
from rtp.modules.networks import NetworkFactory
from rtp.modules.networks.training import isolated_rng
from rtp.modules.unroll.base import Episode


class ClassifierSynthesis(UnrolledDistillation):
    """Learns a memory from which classifiers for some of the classes are trained: k-way networks in the inner loop.

    The network of the inner loop has an output for each class of an episode, not of the data set. The arguments are
    those of `UnrolledDistillation`.
    """

    @abstractmethod
    def episode(self, real_images: Tensor, real_labels: Tensor) -> tuple[Episode, int]:
        """The recalled images that the inner loop of an outer step trains on, and the real ones of its outer loss.

        Args:
            real_images: (n, C, H, W) real images of the step's classes.
            real_labels: (n,) their labels in the data set.

        Returns:
            The episode, with labels 0..k-1, and k, the outputs of its network.
        """

    def outer_loss(self, real_images: Tensor, real_labels: Tensor) -> Tensor:
        """The meta-loss J of a k-way network; see `Distillation.outer_loss`."""
        episode, ways = self.episode(real_images, real_labels)
        return self.unroll.meta_loss(self.fresh_network(self.network, ways), self.inner_optimizer, episode)

    def architecture_name(self, architecture: NetworkFactory) -> str:
        """The class of the networks that an architecture makes."""
        with isolated_rng(0):  # making one draws its weights
            return type(self.fresh_network(architecture, 2)).__name__
