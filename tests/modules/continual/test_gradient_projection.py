"""GEM's quadratic programme against its Karush-Kuhn-Tucker conditions, all sets of active constraints tried."""

from itertools import chain, combinations

import pytest
import torch
from torch import Tensor

from rtp.modules.continual.gradient_projection import project_gradient


def brute_force(gradient: Tensor, constraints: Tensor, margin: float) -> Tensor:
    """The g + G^T v whose v fulfils the KKT conditions: v_k = margin, or the derivative for v_k is 0."""
    count = len(constraints)
    subsets = chain.from_iterable(combinations(range(count), size) for size in range(count + 1))
    for free in map(list, subsets):
        v = torch.full((count,), margin, dtype=torch.double)
        rows, shifted = constraints[free], gradient + v @ constraints
        v[free] += torch.linalg.solve(rows @ rows.T, -rows @ shifted)
        projected = gradient + v @ constraints
        if (v >= margin - 1e-12).all() and (constraints @ projected >= -1e-9).all():
            return projected
    raise AssertionError("no set of active constraints fulfils the KKT conditions")


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_projection_fulfils_the_kkt_conditions(count: int, margin: float) -> None:
    generator = torch.Generator().manual_seed(count)
    projected_ones = 0
    for _ in range(20):
        gradient = torch.randn(12, generator=generator, dtype=torch.double)
        constraints = torch.randn(count, 12, generator=generator, dtype=torch.double)
        if (constraints @ gradient >= 0).all():
            continue
        projected_ones += 1
        projected = project_gradient(gradient, constraints, margin)
        torch.testing.assert_close(projected, brute_force(gradient, constraints, margin), atol=1e-10, rtol=1e-10)
    assert projected_ones > 5


def test_one_violated_constraint_by_hand() -> None:
    # g - <g, g_1> / <g_1, g_1> g_1; the second constraint holds before and after
    gradient = torch.tensor([1.0, -2.0, 3.0])
    constraints = torch.tensor([[0.0, 4.0, 0.0], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(project_gradient(gradient, constraints), torch.tensor([1.0, 0.0, 3.0]))


def test_a_gradient_that_violates_nothing_is_untouched() -> None:
    gradient = torch.tensor([1.0, -2.0])
    assert project_gradient(gradient, torch.tensor([[1.0, 0.0]]), margin=1.0) is gradient
    assert project_gradient(gradient, torch.empty(0, 2)) is gradient


def test_lengths_of_the_constraints_do_not_matter_without_a_margin() -> None:
    # a task that is learned by heart has a tiny gradient, and one that fits perfectly none at all
    generator = torch.Generator().manual_seed(0)
    gradient, constraints = torch.randn(30, generator=generator), torch.randn(4, 30, generator=generator)
    constraints[0] = -gradient + 0.1 * constraints[0]
    lengths = torch.tensor([1e-9, 1.0, 1e6, 1e-3])[:, None]
    expected = project_gradient(gradient, constraints)
    scaled = torch.cat([constraints * lengths, torch.zeros(1, 30)])
    torch.testing.assert_close(project_gradient(gradient, scaled), expected)
    assert (constraints @ expected > -1e-5).all()


def test_twice_the_same_constraint() -> None:
    # the authors add a small multiple of the identity for this
    gradient, constraint = torch.tensor([1.0, -1.0]), torch.tensor([0.0, 1.0])
    projected = project_gradient(gradient, torch.stack([constraint, constraint]))
    torch.testing.assert_close(projected, torch.tensor([1.0, 0.0]))


def test_as_many_tasks_as_the_longest_stream() -> None:
    generator = torch.Generator().manual_seed(0)
    constraints = torch.randn(99, 500, generator=generator, dtype=torch.double)
    gradient = -constraints.mean(0) + torch.randn(500, generator=generator, dtype=torch.double)
    projected = project_gradient(gradient, constraints)
    assert (constraints @ gradient).min() < -1
    assert (constraints @ projected).min() > -1e-8
    # the step is orthogonal to where it ends, so no shorter one gets there
    assert abs(projected @ (projected - gradient)) < 1e-8
