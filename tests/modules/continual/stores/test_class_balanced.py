"""GDumb's greedy sampler against algorithm 1 of its paper, with lists, and the balance that it reaches."""

from collections import Counter

import pytest
import torch

from rtp.errors import UserError
from rtp.modules.continual.stores.class_balanced import ClassBalancedStore


def greedy(samples: list[tuple[int, int]], k: int) -> list[tuple[int, int]]:
    """(number, class) of what stays, in the order of the places."""
    held: list[tuple[int, int]] = []
    seen: set[int] = set()
    for number, own in samples:
        counts = Counter(dict.fromkeys(sorted(seen), 0)) + Counter(y for _, y in held)
        new = own not in seen
        seen.add(own)
        if not new and counts[own] >= k / len(seen):
            continue
        if len(held) < k:
            held.append((number, own))
        else:
            most = max(counts.values())
            largest = min(y for y, count in counts.items() if count == most)
            places = [place for place, (_, y) in enumerate(held) if y == largest]
            held[places[int(torch.randint(len(places), ()))]] = number, own
    return held


@pytest.mark.parametrize("k", [3, 7, 12])
@pytest.mark.parametrize("by_task", [False, True])
def test_what_stays_is_what_the_algorithm_keeps(k: int, by_task: bool) -> None:
    torch.manual_seed(k)
    labels = torch.randint(4, (60,))
    labels[:15] = labels[:15] % 2  # two classes come later
    tasks = [number // 20 for number in range(60)]
    classes = [label + (4 * task if by_task else 0) for label, task in zip(labels.tolist(), tasks, strict=True)]
    torch.manual_seed(5)
    expected = greedy(list(enumerate(classes)), k)
    store = ClassBalancedStore(k, (1, 1, 1), 4, num_tasks=3 if by_task else 1)
    torch.manual_seed(5)
    images = 1 + torch.arange(60.0).view(-1, 1, 1, 1)
    for start in range(0, 60, 5):
        store.add(images[start : start + 5], labels[start : start + 5], tasks[start])
    kept_images, kept_labels, kept_tasks = store.content()
    assert kept_images.flatten().tolist() == [number + 1 for number, _ in expected]
    assert kept_labels.tolist() == [int(labels[number]) for number, _ in expected]
    assert kept_tasks.tolist() == [tasks[number] for number, _ in expected]
    held = Counter(own for _, own in expected)
    if k == 12:
        assert set(held.values()) == ({1} if by_task else {3})
    assert store.storage_bytes == 4 * k
    assert store.other_bytes == k * 16 + 8 * (4 * (3 if by_task else 1) + 1)


def test_it_goes_on_from_its_state() -> None:
    whole, first, second = (ClassBalancedStore(5, (1, 1, 1), 3) for _ in range(3))
    torch.manual_seed(0)
    labels, images = torch.randint(3, (40,)), torch.randn(40, 1, 1, 1)
    for store in (whole, first):
        torch.manual_seed(1)
        store.add(images[:20], labels[:20], 0)
    second.load_state_dict(first.state_dict())
    for store in (whole, second):
        torch.manual_seed(2)
        store.add(images[20:], labels[20:], 1)
    torch.testing.assert_close(second.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_a_store_without_room_holds_nothing() -> None:
    store = ClassBalancedStore(0, (1, 1, 1), 2)
    store.add(torch.ones(3, 1, 1, 1), torch.tensor([0, 1, 1]), 0)
    assert len(store) == store.storage_bytes == 0
    with pytest.raises(UserError, match="the capacity of a store must be at least 0, got -1"):
        ClassBalancedStore(-1, (1, 1, 1), 2)
