"""The drawing of inner minibatches."""

import torch

from rtp.modules.unroll.base import draw_minibatches


def test_minibatches_hold_the_same_number_of_different_slots_of_every_class() -> None:
    torch.manual_seed(0)
    batches = draw_minibatches(num_classes=3, num_slots=7, slots_per_class=4, num_steps=50)
    assert batches.shape == (50, 12)
    for batch in batches.tolist():
        assert len(set(batch)) == 12
        assert [sum(index // 7 == c for index in batch) for c in range(3)] == [4, 4, 4]


def test_every_slot_is_drawn_with_the_same_probability() -> None:
    torch.manual_seed(0)
    steps, slots, chosen = 4000, 5, 2
    counts = draw_minibatches(2, slots, chosen, steps).flatten().bincount(minlength=10)
    expected = steps * chosen / slots
    # five standard deviations of a binomial count
    assert (counts - expected).abs().max() < 5 * (expected * (1 - chosen / slots)) ** 0.5


def test_a_class_with_fewer_slots_gives_all_of_them() -> None:
    assert draw_minibatches(2, 3, 100, 4).sort(dim=1).values.tolist() == [[0, 1, 2, 3, 4, 5]] * 4
