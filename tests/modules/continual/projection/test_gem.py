"""GEM's step against algorithm 1 of its paper, and its memory of the last samples."""

from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rtp.cli import main
from rtp.errors import UserError
from rtp.modules.continual.projection.gem import GEM, project_gradient


@pytest.mark.parametrize("own_heads", [False, True])
def test_a_step_increases_no_stored_tasks_loss(by_hand: Any, own_heads: bool) -> None:
    learner = by_hand.learner(GEM, own_heads, learning_rate=0.01, margin=0.0, memory_images=15)
    stored: dict[int, Any] = {}
    projected = 0
    for task in range(3):
        for _ in range(10):
            batch = by_hand.batch(task, size=5)
            before = by_hand.weights(learner)
            gradient = by_hand.gradient(before, by_hand.samples(batch))
            learner.learn(batch)
            change = by_hand.weights(learner) - before
            earlier = {k: by_hand.gradient(before, samples) for k, samples in stored.items()}
            assert all(change @ past < 1e-12 for past in earlier.values())
            if all(gradient @ past >= 0 for past in earlier.values()):
                torch.testing.assert_close(change, -0.01 * gradient)
            else:
                projected += 1
                violated = [past for past in earlier.values() if gradient @ past < 0]
                if len(violated) == len(earlier) == 1:
                    expected = gradient - (gradient @ violated[0]) / violated[0].square().sum() * violated[0]
                    torch.testing.assert_close(change, -0.01 * expected)
        stored[task] = by_hand.samples(batch)
    assert projected > 2


def test_the_last_samples_of_each_task_are_stored(by_hand: Any) -> None:
    learner = by_hand.learner(GEM, learning_rate=0.01, margin=0.5, memory_images=16)
    first, second, third = (by_hand.batch(size=3) for _ in range(3))
    learner.learn(first)
    assert learner.storage_bytes == 3 * 24
    learner.learn(first._replace(replay=1))
    assert learner.storage_bytes == 3 * 24
    learner.learn(second)
    learner.learn(third)
    assert learner.storage_bytes == 5 * 24
    seen = torch.cat([first.images, second.images, third.images])
    # a third of 16 is 5 places: the last 5 of 9 samples, each in its place of the ring
    torch.testing.assert_close(learner.rings.images[0], seen[[5, 6, 7, 8, 4]])
    large = by_hand.batch(task=1, size=7)
    learner.learn(large)
    assert {tuple(image.flatten().tolist()) for image in learner.rings.images[1]} == {
        tuple(image.flatten().tolist()) for image in large.images[-5:]
    }
    assert learner.storage_bytes == 10 * 24 <= learner.budget_bytes


def test_each_task_needs_a_sample(by_hand: Any) -> None:
    with pytest.raises(UserError, match="memory_images holds 2 images, less than one for each of 3 tasks"):
        by_hand.learner(GEM, learning_rate=0.1, margin=0.0, memory_images=2)
    with pytest.raises(UserError, match="margin must be at least 0, got -1"):
        by_hand.learner(GEM, learning_rate=0.1, margin=-1, memory_images=3)


CONFIGS = Path(__file__).parents[4] / "configs" / "continual" / "cpu"


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


def test_inherited_options_are_taken_and_misspelled_ones_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--model.help", "GEM"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for option in ("margin", "memory_images", "learning_rate", "network"):
        assert f"--model.{option}" in shown or f"--model.init_args.{option}" in shown
    configs = [f"--config={CONFIGS / name}.yaml" for name in ("streams/permutations", "learners/gem")]
    with pytest.raises(UserError, match=r"learning_rat.*GEM, which takes network, memory_images, learning_rate, sam"):
        main(["fit", *configs, "--model.init_args.learning_rat=0.1"])
