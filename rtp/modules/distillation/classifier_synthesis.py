"""The base of the two modules of section 5.3: classifiers for new sets of classes."""

from abc import abstractmethod

from torch import Tensor

from rtp.modules.distillation.unrolled import UnrolledDistillation
from rtp.modules.networks import NetworkFactory
from rtp.modules.networks.training import isolated_rng
from rtp.modules.unroll.base import Episode


class ClassifierSynthesis(UnrolledDistillation):
    """Learns a memory for classifiers of some classes: inner networks have one output per class of an episode."""

    @abstractmethod
    def episode(self, real_images: Tensor, real_labels: Tensor) -> tuple[Episode, int]:
        """An episode with labels 0..k-1, and k, from real images (n, C, H, W) and their labels (n,) in the data set."""

    def outer_loss(self, real_images: Tensor, real_labels: Tensor) -> Tensor:
        """The meta-loss J of a k-way network; see `Distillation.outer_loss`."""
        episode, ways = self.episode(real_images, real_labels)
        return self.current_unroll.meta_loss(self.fresh_network(self.network, ways), self.inner_optimizer, episode)

    def architecture_name(self, architecture: NetworkFactory) -> str:
        """The class name of an architecture's networks."""
        with isolated_rng(0):  # building one draws its weights
            return type(self.fresh_network(architecture, 2)).__name__
