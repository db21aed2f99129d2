"""Herding: a choice of images whose mean feature approximates the mean of all, without training."""

import torch
from torch import Tensor


def herding(features: Tensor, count: int) -> Tensor:
    """Choose greedily, each time the one that brings the mean of those chosen nearest to the mean of all.

    With mu the mean of the features phi_i, the k-th one is

        p_k = argmin_i |mu - (phi_i + sum_{j<k} phi_{p_j}) / k|^2

    over those that are not chosen yet. This is Welling, "Herding dynamical weights to learn", ICML 2009, in the form of
    Rebuffi et al., "iCaRL", CVPR 2017, algorithm 4, which scales features to norm 1 first: here the caller may.

    Args:
        features: (n, F) floats.
        count: How many to choose, from 1 to n.

    Returns:
        (count,) distinct indices in the order in which they were chosen, on the features' device.
    """
    norms, mean = features.square().sum(1), features.mean(0)
    chosen = torch.empty(count, dtype=torch.long, device=features.device)
    residual = torch.zeros_like(mean)  # k mu minus the sum of the chosen features
    taken = torch.zeros(len(features), dtype=torch.bool, device=features.device)
    for k in range(count):
        residual = residual + mean
        # k^2 times the squared distance, without the terms equal for all
        distances = norms - 2 * (features @ residual)
        chosen[k] = distances.masked_fill(taken, torch.inf).argmin()
        taken[chosen[k]] = True
        residual = residual - features[chosen[k]]
    return chosen
