"""The quadratic programme of GEM: the nearest gradient that increases no stored task's loss."""

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor


def project_gradient(gradient: Tensor, constraints: Tensor, margin: float = 0.0) -> Tensor:
    """Project a gradient onto the half-spaces of the stored tasks' gradients (equations 8 to 12 of GEM).

    g~ = g + G^T v, where v minimises |g + G^T v|^2 subject to v >= margin. With a margin of 0 this is the point nearest
    to g with <g~, g_k> >= 0 for every row g_k of G. A gradient that violates none of the constraints is left as it is.

    Deviation from the paper: there the margin, gamma, is added to the v that was found for a margin of 0; here it
    bounds v from below, as in the authors' code.

    Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017.

    Args:
        gradient: (P,) g, of the minibatch at hand.
        constraints: (k, P) G, a row a stored task; k may be 0.
        margin: gamma, at least 0; larger ones favour the stored tasks.

    Returns:
        (P,) the projected gradient g~.
    """
    if bool((constraints @ gradient >= 0).all()):
        return gradient
    rows = constraints.double()
    shifted = gradient.double() + margin * rows.sum(0)  # v = margin + u with u >= 0
    # a constraint does not depend on the length of its row, and the solver's tolerance should not either
    lengths = rows.norm(dim=1).clamp_min(torch.finfo(torch.double).tiny)
    u = torch.from_numpy(_nearest_cone_point(rows / lengths[:, None], -shifted)).to(rows) / lengths
    return (shifted + u @ rows).to(gradient)


def _nearest_cone_point(rows: Tensor, point: Tensor) -> np.ndarray:
    """The u >= 0 that minimises |u @ rows - point|, of k numbers."""
    together = torch.cat([rows, point[None]])
    # only inner products matter: a square root of their matrix has k + 1 rows in the place of P
    values, vectors = torch.linalg.eigh(together @ together.T)
    root = (values.clamp_min(0).sqrt()[:, None] * vectors.T).numpy(force=True)
    solution, _ = nnls(root[:, :-1], root[:, -1], maxiter=100 * len(rows))  # the default of 3 k can be too few
    return solution
