"""Gradient episodic memory, and the quadratic programme that projects its gradients."""

from typing import Any

import torch
from scipy.optimize import nnls
from torch import Tensor

from rtp.datamodules.streams.base import StreamBatch
from rtp.modules.continual.projection.base import EpisodicLearner
from rtp.utils.checks import check_at_least


class GEM(EpisodicLearner):
    """Steps along the gradient nearest to the minibatch's that increases no earlier task's loss on its stored samples.

    The last samples of each task are stored in a T-th of the budget, as in the paper; see `project_gradient`.

    Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017, algorithm 1.

    Args:
        margin: gamma, at least 0; the authors use 0.5 (their code).
        **kwargs: As in `EpisodicLearner`.

    Raises:
        UserError: If a number is out of its range.
    """

    def __init__(self, margin: float, **kwargs: Any) -> None:
        check_at_least("margin", margin, 0)
        super().__init__(**kwargs)
        self.margin = margin

    def learn(self, batch: StreamBatch) -> None:
        """Store, then take one step."""
        self.store(batch)
        earlier = [self.gradient(self.loss(*self.rings.content(task), task)) for task in range(batch.task)]
        gradient = self.gradient(self.loss(batch.images, batch.labels, batch.task))
        self.step(project_gradient(gradient, torch.stack(earlier), self.margin) if earlier else gradient)


def project_gradient(gradient: Tensor, constraints: Tensor, margin: float = 0.0) -> Tensor:
    """Project a gradient onto the half-spaces of the stored tasks' gradients (equations 8 to 12 of GEM).

    g~ = g + G^T v, where v minimises |g + G^T v|^2 subject to v >= margin. With a margin of 0 this is the point nearest
    to g with <g~, g_k> >= 0 for every row g_k of G. A gradient that violates no constraint does not change.

    Deviation from the paper: there the margin, gamma, is added to the v found for a margin of 0; here it bounds v from
    below, as in the authors' code.

    Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017.

    Args:
        gradient: (P,) g, of the minibatch.
        constraints: (k, P) G, a row for each stored task; k may be 0.
        margin: gamma, at least 0; larger ones favour the stored tasks.
    """
    if bool((constraints @ gradient >= 0).all()):
        return gradient
    rows = constraints.double()
    shifted = gradient.double() + margin * rows.sum(0)  # v = margin + u, and u >= 0 minimises |shifted + u @ rows|
    # a constraint does not depend on the length of its row, and the solver's tolerance should not either
    lengths = rows.norm(dim=1).clamp_min(torch.finfo(torch.double).tiny)
    together = torch.cat([rows / lengths[:, None], -shifted[None]])
    # only inner products matter: a square root of their matrix has k + 1 rows instead of P
    values, vectors = torch.linalg.eigh(together @ together.T)
    root = (values.clamp_min(0).sqrt()[:, None] * vectors.T).numpy(force=True)
    solution, _ = nnls(root[:, :-1], root[:, -1], maxiter=100 * len(rows))  # the default of 3 k can be too few
    u = torch.from_numpy(solution).to(rows) / lengths
    return (shifted + u @ rows).to(gradient)
