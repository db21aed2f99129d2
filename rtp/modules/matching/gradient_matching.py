"""The LightningModule that learns a memory by matching gradients: DC, and DSA with an augmentation."""

from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from rtp.errors import UserError
from rtp.modules.distillation.base import Distillation
from rtp.modules.matching.base import MatchedNetwork, class_pairs, gradient_matching_loss, trained
from rtp.modules.unroll.inner_optimizer import InnerOptimizer, InnerSGD
from rtp.modules.unroll.step.functions import StepFunctions, step_functions, tf32_mode
from rtp.utils.checks import check_at_least
from rtp.utils.distributed import all_gather

NETWORKS_KEY = "rtp_matched_networks"
"""Where a checkpoint holds the network of each process that goes on in the next step, or None for a fresh one."""


class GradientMatching(Distillation):
    """Distils a data set by matching the gradients of recalled and real images: DC, and DSA with an augmentation.

    An outer step is one matching: for each class of the batch the gradient of the network's loss on recalled images
    is brought closer to that on real images (`gradient_distance`). A network is used for some matchings, between which
    it is trained on the recalled images of all classes; then a fresh one takes its place.

    Deviations from the authors' code: a matching draws the classes of the batch, all by default; while the network is
    trained, the augmentation's choice is drawn for each image, not for a minibatch; BatchNorm is not supported.

    Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021; Zhao and Bilen, "Dataset
    Condensation with Differentiable Siamese Augmentation", ICML 2021.

    Args:
        slots_per_class: Recalled images of each class in a matching; all of them where the memory has fewer.
        matchings_per_network: Outer steps before a fresh network is drawn, DC's outer loop: 1 for 1 image a class, 10
            for 10, 50 for 50 (authors' code).
        network_epochs: Passes over the recalled images between two matchings of a network, DC's inner loop: 50 for 10
            images a class, 10 for 50 (authors' code). With one matching a network it is never trained.
        network_batch_size: Recalled images in a minibatch of these, at most; the authors' code has 256.
        inner_optimizer: How the network is trained; SGD with 0.01 and momentum 0.5 is that of the first version of the
            authors' code.
        compile: Whether the functions of a step are compiled, which takes minutes at the first step of a run.
        **kwargs: As in `Distillation`; the outer optimizer is the authors' too. The network has no buffers such as
            BatchNorm's. An augmentation, drawn once a class and step, makes DC DSA.

    Raises:
        UserError: If a number is below 1, or the network has buffers.
    """

    def __init__(
        self,
        slots_per_class: int,
        matchings_per_network: int = 1,
        network_epochs: int = 1,
        network_batch_size: int = 256,
        inner_optimizer: InnerOptimizer = InnerSGD(0.01, 0.5),  # noqa: B008  # frozen
        compile: bool = True,
        **kwargs: Any,
    ) -> None:
        for name, value in (
            ("slots_per_class", slots_per_class),
            ("matchings_per_network", matchings_per_network),
            ("network_epochs", network_epochs),
            ("network_batch_size", network_batch_size),
        ):
            check_at_least(name, value, 1)
        super().__init__(**kwargs)
        self.slots_per_class = slots_per_class
        self.matchings_per_network = matchings_per_network
        self.network_epochs = network_epochs
        self.network_batch_size = network_batch_size
        self.inner_optimizer = inner_optimizer
        self.compiles = compile  # nn.Module has a method `compile`
        self._matched: MatchedNetwork | None = None
        _refuse_buffers(self.fresh_network(self.network))

    def outer_loss(self, real_images: Tensor, real_labels: Tensor) -> Tensor:
        """The distance of the gradients, summed over classes; see `Distillation.outer_loss`."""
        fresh = self.fresh_network(self.network)
        functions = step_functions(fresh, compile=self.compiles)
        shapes = [parameter.shape for parameter in fresh.parameters()]
        with tf32_mode("fp32"):
            network = self._next_network(fresh, functions)
            pairs = class_pairs(self.memory, self.slots_per_class, real_images, real_labels, self.augmentation)
            loss = gradient_matching_loss(functions, network.theta, shapes, pairs)
        self._matched = replace(network, matchings=network.matchings + 1)
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the network too, where it is going to be used again; each process has its own."""
        super().on_save_checkpoint(checkpoint)
        goes_on = self._matched is not None and self._matched.matchings < self.matchings_per_network
        checkpoint[NETWORKS_KEY] = all_gather(_on_cpu(self._matched) if goes_on and self._matched else None)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the network up again; see `Distillation.on_load_checkpoint`.

        Raises:
            UserError: If the checkpoint is of another module.
        """
        super().on_load_checkpoint(checkpoint)
        if NETWORKS_KEY not in checkpoint:
            raise UserError("the checkpoint is not one of GradientMatching: use the config.yaml of its run")
        states = checkpoint[NETWORKS_KEY]
        # a process that the run did not have before starts with a fresh network
        state = states[self.global_rank] if self.global_rank < len(states) else None
        self._matched = None if state is None else MatchedNetwork(**state | {"moments": tuple(state["moments"])})

    def _next_network(self, fresh: nn.Module, functions: StepFunctions) -> MatchedNetwork:
        theta = nn.utils.parameters_to_vector(fresh.parameters()).detach()
        moments = self.inner_optimizer.initial_state(theta)
        last = self._matched
        if last is None or last.matchings >= self.matchings_per_network:
            return MatchedNetwork(theta, moments)
        if last.theta.shape != theta.shape or len(last.moments) != len(moments):
            raise UserError("the checkpoint's network or its optimizer is another one: use the config.yaml of its run")
        last = replace(
            last, theta=last.theta.to(theta.device), moments=tuple(moment.to(theta.device) for moment in last.moments)
        )
        classes = torch.arange(self.memory.query_dim, device=self.device)
        with torch.no_grad():
            images = self.memory.recall(classes).flatten(0, 1)
        return trained(
            last,
            functions,
            self.inner_optimizer,
            images,
            classes.repeat_interleave(self.memory.num_slots),
            self.network_epochs,
            self.network_batch_size,
            self.augmentation,
        )


def _refuse_buffers(network: nn.Module) -> None:
    if any(True for _ in network.buffers()):
        raise UserError(
            f"GradientMatching does not support {type(network).__name__}, whose buffers change while it is trained: "
            "use InstanceNorm in place of BatchNorm"
        )


def _on_cpu(network: MatchedNetwork) -> dict[str, Any]:
    """A network's entries as a checkpoint holds them, which is opened without running code."""
    return {
        name: value.cpu() if isinstance(value, Tensor) else [m.cpu() for m in value] if name == "moments" else value
        for name, value in asdict(network).items()
    }
