"""The engine for MLPs and images of few bases: the first layer learns in the bases' span alone."""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtp.errors import UserError
from rtp.modules.unroll.base import Combinations, Episode, RealImages
from rtp.modules.unroll.higher import HigherUnroll
from rtp.modules.unroll.inner_optimizer import InnerOptimizer, InnerSGD

# Smallest pivot of the Cholesky factor L beside the largest. Pivots measure how far each basis lies outside the span of
# those before it; the gradient's rounding error, 1e-7 in float32, grows by their ratio.
_LEAST_PIVOT = 1e-3


@runtime_checkable
class LinearFirst(Protocol):
    """A network whose first layer is linear in the flat image."""

    def first_and_rest(self) -> tuple[nn.Linear, nn.Module]:
        """This layer, and what maps its output to logits."""


@dataclass(frozen=True)
class SpanUnroll(HigherUnroll):
    """Exact back-propagation by `higher` through the whole graph of a loop with K inputs, one for each basis.

    Recalled images are X = V B, with coefficients V (m, K) and flat bases B (K, d). A gradient of the MLP's first
    weights W (h, d) is G^T X, a combination of the bases, so descent never leaves their span: W_t = W_0 + M_t Q, where
    the rows of Q (K, d) are an orthonormal basis of it. With B B^T = L L^T (Cholesky), Q = L^-1 B, and

        X W_t^T = V L M_t^T + V B W_0^T,    Y W_t^T = Y Q^T M_t^T + Y W_0^T for real images Y.

    As V L is X Q^T, M_t follows the same rule of SGD with momentum as W_t, from M_0 = 0. Its gradient costs m h K
    instead of m h d operations: at K 8 and d 784, the streams of MNIST, the loop is several times as fast. The
    meta-gradient equals `HigherUnroll`'s up to rounding, through V, L, Q and B W_0^T.

    Bases that are linearly dependent, as after a start from fewer images than bases, are left to `HigherUnroll`.

    Args:
        num_steps: Inner steps T, at least 1.

    Raises:
        UserError: If `num_steps` is below 1.
    """

    def meta_loss(self, network: nn.Module, optimizer: InnerOptimizer, episode: Episode) -> Tensor:
        """See `Unroll.meta_loss`.

        Raises:
            UserError: If the network is no MLP, if the rule is not InnerSGD with full momentum or none, or if the
                images are not recalled from bases, are augmented, or are not judged on real images.
        """
        if not isinstance(network, LinearFirst):
            raise UserError(f"SpanUnroll needs an MLP, and the network is {type(network).__name__}: use StepwiseUnroll")
        if not isinstance(optimizer, InnerSGD) or optimizer.momentum_mode == "forward_only":
            raise UserError(
                "SpanUnroll needs InnerSGD with momentum_mode full or none: other rules depend on the weights' "
                "coordinates, so use StepwiseUnroll"
            )
        combinations = episode.combinations() if episode.combinations is not None else None
        if combinations is None or not isinstance(episode.objective, RealImages):
            raise UserError(
                "SpanUnroll needs images recalled by labels from bases, without augmentation, and a loss on real "
                "images: use StepwiseUnroll"
            )
        triangle = _cholesky(combinations[1])
        if triangle is None:
            return super().meta_loss(network, optimizer, episode)
        inner = _InSpan(network, len(triangle))
        recalled, real = inner.inputs(combinations, triangle, episode.objective.images)
        objective = RealImages(real, episode.objective.labels)
        return super().meta_loss(inner, optimizer, replace(episode, images=recalled, objective=objective))


def _cholesky(bases: Tensor) -> Tensor | None:
    """L (K, K) of B B^T = L L^T for bases B (K, d), in float64; None if they are linearly dependent, or nearly so."""
    wide = bases.double()
    triangle, failed = torch.linalg.cholesky_ex(wide @ wide.T)
    pivots = triangle.detach().diagonal()
    return None if failed or pivots.min() < _LEAST_PIVOT * pivots.max() else triangle


class _InSpan(nn.Module):
    """An MLP by the movement M (h, K) of its first weights; maps (n, K + h): X Q^T beside X W_0^T."""

    def __init__(self, network: LinearFirst, num_bases: int) -> None:
        super().__init__()
        first, self.rest = network.first_and_rest()
        self.start = first.weight.detach()
        self.movement = nn.Parameter(first.weight.new_zeros(first.out_features, num_bases))
        self.bias = first.bias

    def inputs(self, combinations: Combinations, triangle: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """What stands for recalled images (m, K + h) and real ones (n, K + h)."""
        coefficients, bases = combinations
        flat = real.flatten(1)
        in_span = torch.linalg.solve_triangular(triangle, bases.double() @ flat.T.double(), upper=False).T
        recalled = (coefficients.double() @ triangle).to(flat), coefficients @ (bases @ self.start.T)
        return torch.cat(recalled, dim=1), torch.cat([in_span.to(flat), flat @ self.start.T], dim=1)

    def forward(self, inputs: Tensor) -> Tensor:
        in_span, from_start = inputs.tensor_split([self.movement.shape[1]], dim=1)
        logits: Tensor = self.rest(F.linear(in_span, self.movement, self.bias) + from_start)
        return logits
