"""Reservoir sampling: uniform by a chi-square test, and nothing but what it says it holds."""

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from rtp.errors import UserError
from rtp.modules.continual.stores.reservoir import Reservoir

STREAM, CAPACITY, TRIALS = 40, 8, 1500


def show(reservoir: Reservoir, first: int, last: int, size: int = 5) -> None:
    """Samples that say which they are, in minibatches."""
    for number in torch.arange(first, last).split(size):
        reservoir.add(number.view(-1, 1, 1, 1).float(), number, 0)


def p_value(counts: Tensor, probability: float) -> float:
    """Of the hypothesis that each sample is held with the same probability.

    The number held is fixed, so the counts vary less than binomial ones by (n - 1) / n: the statistic is chi-square
    with n - 1 degrees of freedom for large numbers of trials.
    """
    expected, n = TRIALS * probability, len(counts)
    statistic = ((counts - expected) ** 2 / (expected * (1 - probability))).sum() * (n - 1) / n
    return float(chi2.sf(statistic, n - 1))


@pytest.mark.parametrize("shrunk", [False, True])
def test_every_sample_is_held_with_the_same_probability(shrunk: bool) -> None:
    torch.manual_seed(0)
    held = 4 if shrunk else CAPACITY
    counts, places = torch.zeros(STREAM, dtype=torch.float64), torch.zeros(STREAM, dtype=torch.float64)
    for _ in range(TRIALS):
        reservoir = Reservoir(CAPACITY, (1, 1, 1))
        show(reservoir, 0, STREAM // 2)
        if shrunk:  # in the middle of the stream
            reservoir.shrink(held)
        show(reservoir, STREAM // 2, STREAM)
        labels = reservoir.content()[1]
        assert len(labels.unique()) == held
        counts[labels] += 1
        places[labels[0]] += 1
    assert 0.01 < p_value(counts, held / STREAM) < 0.99
    if not shrunk:
        # which is more than uniform: a sample's place is the one it took, so the first ones are more often there
        assert places[0] > 1.5 * TRIALS / STREAM


def test_the_chi_square_test_notices_a_reservoir_that_is_not_uniform() -> None:
    torch.manual_seed(0)
    counts = torch.zeros(STREAM, dtype=torch.float64)
    for _ in range(TRIALS):
        held = list(range(CAPACITY))
        for number in range(CAPACITY, STREAM):  # i - 1 in place of i: one too many is taken
            if (place := int(torch.randint(number - 1, ()))) < CAPACITY:
                held[place] = number
        counts[torch.tensor(held)] += 1
    assert p_value(counts, CAPACITY / STREAM) < 0.01


def test_the_first_samples_are_all_kept_in_order() -> None:
    reservoir = Reservoir(7, (1, 1, 1))
    show(reservoir, 0, 7)
    assert reservoir.content()[1].tolist() == list(range(7))
    assert (len(reservoir), reservoir.seen, reservoir.capacity) == (7, 7, 7)
    show(reservoir, 7, 9)
    assert (len(reservoir), reservoir.seen, reservoir.capacity) == (7, 9, 7)


def test_a_minibatch_at_once_or_sample_by_sample_is_the_same() -> None:
    torch.manual_seed(0)
    one, other = Reservoir(6, (1, 1, 1)), Reservoir(6, (1, 1, 1))
    with torch.random.fork_rng():
        show(one, 0, 50, size=50)
    show(other, 0, 50, size=1)
    assert torch.equal(one.content()[1], other.content()[1])


def test_images_labels_and_tasks_stay_together() -> None:
    torch.manual_seed(0)
    reservoir = Reservoir(6, (1, 2, 2))
    images = torch.arange(30).float().view(-1, 1, 1, 1).expand(30, 1, 2, 2)
    reservoir.add(images, torch.arange(30) % 10, torch.arange(30) // 10)
    for content in (reservoir.content(), reservoir.sample(4)):
        assert torch.equal(content[0][:, 0, 1, 1].long(), content[1] + 10 * content[2])
    assert [len(part) for part in reservoir.sample(4)] == [4, 4, 4]


def test_samples_are_drawn_uniformly_and_without_replacement() -> None:
    torch.manual_seed(0)
    reservoir = Reservoir(STREAM, (1, 1, 1))
    show(reservoir, 0, STREAM)
    counts = torch.zeros(STREAM, dtype=torch.float64)
    for _ in range(TRIALS):
        labels = reservoir.sample(10)[1]
        assert len(labels.unique()) == 10
        counts[labels] += 1
    assert 0.01 < p_value(counts, 10 / STREAM) < 0.99
    assert sorted(reservoir.sample(100)[1].tolist()) == list(range(STREAM))
    assert len(reservoir.sample(0)[1]) == len(Reservoir(3, (1, 1, 1)).sample(2)[1]) == 0


def test_bytes_are_those_of_the_images_held() -> None:
    reservoir = Reservoir(3, (2, 4, 5))
    assert (reservoir.storage_bytes, reservoir.bytes_per_sample, reservoir.other_bytes) == (0, 160, 24)
    reservoir.add(torch.randn(2, 2, 4, 5), torch.tensor([0, 1]), 0)
    assert (reservoir.storage_bytes, reservoir.other_bytes) == (320, 24 + 2 * 16)
    reservoir.add(torch.randn(9, 2, 4, 5), torch.zeros(9, dtype=torch.int64), 0)
    assert reservoir.storage_bytes == 480
    reservoir.shrink(1)
    assert (reservoir.storage_bytes, reservoir.capacity) == (160, 1)
    assert reservoir.images[1:].count_nonzero() == 0  # what is given up is gone
    reservoir.clear()
    assert (reservoir.storage_bytes, reservoir.seen, reservoir.capacity) == (0, 0, 1)
    assert reservoir.images.count_nonzero() == 0


def test_it_goes_on_from_its_state() -> None:
    torch.manual_seed(0)
    whole, first, second = (Reservoir(6, (1, 1, 1)) for _ in range(3))
    for reservoir in (whole, first):
        torch.manual_seed(1)
        show(reservoir, 0, 25)
    second.load_state_dict(first.state_dict())
    for reservoir in (whole, second):
        torch.manual_seed(2)
        show(reservoir, 25, 50)
        reservoir.shrink(4)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])


def test_a_reservoir_without_room_holds_nothing() -> None:
    reservoir = Reservoir(0, (1, 1, 1))
    show(reservoir, 0, 5)
    assert (len(reservoir), reservoir.seen) == (0, 5)


def test_impossible_capacities_are_refused() -> None:
    with pytest.raises(UserError, match="the capacity of a reservoir must be at least 0, got -1"):
        Reservoir(-1, (1, 1, 1))
    for capacity in (-1, 4):
        with pytest.raises(ValueError, match=f"a reservoir of 3 samples cannot shrink to {capacity}"):
            Reservoir(3, (1, 1, 1)).shrink(capacity)


def test_a_draw_with_replacement_takes_each_place_alike_and_some_twice() -> None:
    torch.manual_seed(0)
    reservoir = Reservoir(CAPACITY, (1, 1, 1))
    assert len(reservoir.draw(3, replacement=True)) == 0
    show(reservoir, 0, CAPACITY)
    drawn = torch.stack([reservoir.draw(3, replacement=True) for _ in range(TRIALS)])
    counts = torch.bincount(drawn.flatten(), minlength=CAPACITY).double()
    assert 0.01 < chi2.sf(float(((counts - counts.mean()) ** 2 / counts.mean()).sum()), CAPACITY - 1) < 0.99
    all_different = 7 / 8 * 6 / 8
    repeated = sum(len(places.unique()) < 3 for places in drawn) / TRIALS
    assert abs(repeated - (1 - all_different)) < 4 * (all_different * (1 - all_different) / TRIALS) ** 0.5
    assert len(reservoir.draw(20, replacement=True)) == CAPACITY
