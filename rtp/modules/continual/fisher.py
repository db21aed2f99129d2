"""The diagonal of the Fisher information, which says how much a task depends on each weight."""

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev
from torch.nn import functional as F


def diagonal_fisher(network: nn.Module, images: Tensor, columns: Tensor) -> Tensor:
    """Work out F_i = mean over x of sum over y of p(y|x) (d log p(y|x) / d theta_i)^2.

    The expectation over the labels is the network's own and exact, one term a class, where it is often sampled.

    Args:
        network: Maps images (n, C, H, W) to logits (n, total_classes).
        images: (n, C, H, W), n at least 1.
        columns: (c,) numbers of the logits that belong to the images' task; p is their softmax.

    Returns:
        (P,) at least 0, in the order of `network.parameters()`.
    """
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}

    def log_probabilities(parameters: dict[str, Tensor], image: Tensor) -> Tensor:
        return F.log_softmax(functional_call(network, parameters, (image[None],))[0, columns], dim=0)

    fisher = torch.zeros(sum(parameter.numel() for parameter in parameters.values())).to(
        next(iter(parameters.values()))
    )
    for image in images:  # one at a time: a derivative has as many numbers as the network, times the classes
        probabilities = log_probabilities(parameters, image).exp()
        slopes = jacrev(log_probabilities)(parameters, image)
        fisher += torch.cat([probabilities @ slope.flatten(1).square() for slope in slopes.values()])
    return fisher / len(images)
