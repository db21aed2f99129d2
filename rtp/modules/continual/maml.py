"""Meta-learning on the stream: C-MAML, and La-MAML with a learned rate for every weight."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rtp.datamodules.streams.base import StreamBatch
from rtp.modules.continual.experience_replay import ReplayLearner
from rtp.modules.continual.look_ahead import Loss, Weights, look_ahead
from rtp.modules.continual.single_network import check_positive, flat
from rtp.modules.networks import NetworkFactory


class CMAML(ReplayLearner):
    """Looks ahead at where the minibatch leads, and descends the loss there on the minibatch and replayed samples.

    theta_0 = theta_0 - beta grad_{theta_0} mean_k' L(theta_k'), with theta_1 to theta_k of `look_ahead`, a step of the
    rate alpha a sample of the minibatch, and L the mean over the minibatch and replayed samples. Then the minibatch is
    stored.

    Deviation from the paper: there it is L(theta_k) of the last step alone; the mean is that of the authors' code. The
    network that counts in the end is theta_0, which the last step alone teaches little of the minibatch.

    Gupta, Yadav and Paull, "La-MAML: Look-ahead Meta Learning for Continual Learning", NeurIPS 2020, section 4.1.

    Args:
        image_shape: (C, H, W), taken from the stream.
        num_classes: Classes of one task, taken from the stream.
        total_classes: Outputs of the network, taken from the stream, see `ContinualLearner`.
        num_tasks: Number of tasks T, taken from the stream.
        network: The network to train.
        learning_rate: beta, of the outer step, positive.
        inner_learning_rate: alpha, of the steps ahead, positive.
        second_order: Whether the steps ahead are differentiated through their gradients; the authors' commands do so
            for CIFAR-100 and not for MNIST.
        memory_images: Storage budget, in real images, at least 1.

    Raises:
        UserError: If a number is out of its range.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        total_classes: int,
        num_tasks: int,
        network: NetworkFactory,
        learning_rate: float,
        inner_learning_rate: float,
        second_order: bool,
        memory_images: int,
    ) -> None:
        check_positive("inner_learning_rate", inner_learning_rate)
        super().__init__(image_shape, num_classes, total_classes, num_tasks, network, learning_rate, memory_images)
        self.inner_learning_rate = inner_learning_rate
        self.second_order = second_order

    def learn(self, batch: StreamBatch) -> None:
        """Take one outer step, then store."""
        rates = [weight.new_tensor(self.inner_learning_rate) for weight in self.weights]
        self.step(self.gradient(self.meta_loss(batch, rates)))
        self.store(batch)

    def meta_loss(self, batch: StreamBatch, rates: Weights) -> Tensor:
        """Work out the mean of L over the steps ahead.

        Args:
            batch: The minibatch.
            rates: alpha, as `look_ahead` takes it.

        Returns:
            A scalar, differentiable with respect to the network's weights and the rates.
        """
        samples = zip(batch.images.split(1), batch.labels.split(1), strict=True)
        losses = [self._loss_of(*sample, batch.task) for sample in samples]
        steps = look_ahead(self.weights, rates, losses, self.second_order)
        outer = self.with_replay(batch)
        return torch.stack([self.loss(*outer, weights=weights) for weights in steps]).mean()

    def _loss_of(self, image: Tensor, label: Tensor, task: int) -> Loss:
        def loss(weights: Sequence[Tensor]) -> Tensor:
            return self.loss(image, label, task, weights)

        return loss


class LaMAML(CMAML):
    """C-MAML with a rate alpha for each weight, which is learned and serves in the steps ahead and in the outer one.

    alpha = alpha - eta grad_alpha, then theta_0 = theta_0 - max(0, alpha) grad_{theta_0}, both gradients being those of
    C-MAML's outer loss before. The P rates are no samples and are not charged to the budget, as in the paper.

    Gupta, Yadav and Paull, "La-MAML: Look-ahead Meta Learning for Continual Learning", NeurIPS 2020, algorithm 1.

    Args:
        image_shape: (C, H, W), taken from the stream.
        num_classes: Classes of one task, taken from the stream.
        total_classes: Outputs of the network, taken from the stream, see `ContinualLearner`.
        num_tasks: Number of tasks T, taken from the stream.
        network: The network to train.
        learning_rate: eta, of the rates, positive.
        inner_learning_rate: alpha at the start, positive.
        second_order: See `CMAML`.
        memory_images: Storage budget, in real images, at least 1.

    Raises:
        UserError: If a number is out of its range.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        total_classes: int,
        num_tasks: int,
        network: NetworkFactory,
        learning_rate: float,
        inner_learning_rate: float,
        second_order: bool,
        memory_images: int,
    ) -> None:
        super().__init__(
            image_shape,
            num_classes,
            total_classes,
            num_tasks,
            network,
            learning_rate,
            inner_learning_rate,
            second_order,
            memory_images,
        )
        self.rates = nn.ParameterList(torch.full_like(weight, inner_learning_rate) for weight in self.weights)

    @property
    def rate_floats(self) -> int:
        """Floats of the rates, which the budget is not charged with."""
        return flat(list(self.rates)).numel()

    def learn(self, batch: StreamBatch) -> None:
        """Take one outer step of the rates and with them one of the weights, then store."""
        rates, weights = list(self.rates), self.weights
        slopes = torch.autograd.grad(self.meta_loss(batch, rates), [*rates, *weights])
        with torch.no_grad():
            for rate, weight, for_rate, for_weight in zip(
                rates, weights, slopes[: len(rates)], slopes[len(rates) :], strict=True
            ):
                rate.sub_(for_rate, alpha=self.learning_rate)
                weight.sub_(rate.clamp_min(0) * for_weight)
        self.store(batch)
