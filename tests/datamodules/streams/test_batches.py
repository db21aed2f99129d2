"""A single pass over each task: nothing is handed out twice, and a continued run goes on where it stopped."""

from collections import Counter
from itertools import permutations
from typing import Any

import pytest
import torch

from rtp.datamodules import Digits, ImageDataModule, IncrementalClasses, PermutedTasks, RotatedTasks
from rtp.errors import UserError


@pytest.mark.parametrize("replays", [1, 3])
def test_every_sample_of_a_task_is_handed_out_once_and_replayed_in_a_row(
    replays: int, numbered: ImageDataModule, stream_of: Any, numbers: Any
) -> None:
    stream = stream_of(numbered, replays=replays)
    for task in range(3):
        batches = list(stream.pass_over(task))
        assert len(batches) == len(stream.pass_over(task)) == 5 * replays
        assert [batch.replay for batch in batches] == list(range(replays)) * 5
        assert [batch.last for batch in batches] == [False] * (5 * replays - 1) + [True]
        assert {batch.task for batch in batches} == {task}
        for first in range(0, len(batches), replays):
            for batch in batches[first : first + replays]:
                assert torch.equal(batch.images, batches[first].images)
                assert torch.equal(batch.labels, batches[first].labels)
        seen = Counter(number for batch in batches[::replays] for number in numbers(stream, batch.images))
        assert len(seen) == 45
        assert set(seen.values()) == {1}
        assert [len(batch.labels) for batch in batches[::replays]] == [10, 10, 10, 10, 5]


def test_labels_belong_to_their_images(numbered: ImageDataModule, stream_of: Any, numbers: Any) -> None:
    stream = stream_of(numbered)
    for batch in stream.pass_over(1):
        assert [number % 8 for number in numbers(stream, batch.images)] == batch.labels.tolist()


def test_iterating_goes_on_where_it_stopped(numbered: ImageDataModule, stream_of: Any) -> None:
    stream = stream_of(numbered, replays=2)
    whole = list(stream.pass_over(0))
    batches = stream.pass_over(0, start=3)
    assert len(batches) == 10  # Lightning counts those before as fetched
    continued = [next(iter(batches)) for _ in range(2)] + list(batches)
    assert len(continued) == 7
    for one, other in zip(continued, whole[3:], strict=True):
        assert torch.equal(one.images, other.images)
        assert one[2:] == other[2:]
    assert list(batches) == []


def test_a_run_is_not_continued_with_another_stream(numbered: ImageDataModule, stream_of: Any) -> None:
    state = stream_of(numbered).pass_over(0).state_dict()
    stream_of(numbered).pass_over(2).load_state_dict(state)
    with pytest.raises(
        UserError,
        match=r"with a stream of seed 0, samples 45, not of seed 1, samples 44: continue it with its own",
    ):
        stream_of(numbered, seed=1, samples_per_task=44).pass_over(0).load_state_dict(state)


def test_streams_of_another_kind_or_source_are_others(numbered: ImageDataModule) -> None:
    permuted, rotated = PermutedTasks(numbered, 4, 20), RotatedTasks(source=numbered, tasks=4, samples_per_task=20)
    less = RotatedTasks(source=numbered, tasks=4, samples_per_task=20, max_angle=90.0)
    of_two, of_four = (
        IncrementalClasses(source=numbered, tasks=2, samples_per_task=20, classes_per_task=number) for number in (2, 4)
    )
    streams = [permuted, rotated, less, RotatedTasks(source=Digits(), tasks=4, samples_per_task=20), of_two, of_four]
    for stream in streams:
        stream.pass_over(0).load_state_dict(stream.description())
    for before, here in permutations(streams, 2):
        with pytest.raises(UserError, match=r"the run was started with a stream of .+, not of .+: continue it"):
            here.pass_over(0).load_state_dict(before.description())
    with pytest.raises(UserError, match=r"of kind rotated, max_angle 180.0, not of kind permuted: continue it"):
        permuted.pass_over(0).load_state_dict(rotated.description())
    with pytest.raises(UserError, match=r"of max_angle 180.0, not of max_angle 90.0: continue it"):
        less.pass_over(0).load_state_dict(rotated.description())
    with pytest.raises(UserError, match=r"of classes_per_task 2, not of classes_per_task 4: continue it"):
        of_four.pass_over(0).load_state_dict(of_two.description())


def test_a_stream_of_another_split_or_normalisation_is_another() -> None:
    digits = PermutedTasks(Digits(), 4, 20)
    for source, message in (
        (Digits(seed=1), "source_seed 0, not of source_seed 1"),
        (Digits(validation_fraction=0.2), "validation_fraction 0.1, not of validation_fraction 0.2"),
        (Digits(zca=0.1), "zca None, not of zca 0.1"),
    ):
        with pytest.raises(UserError, match=rf"with a stream of {message}: continue it"):
            PermutedTasks(source, 4, 20).pass_over(0).load_state_dict(digits.description())


def test_evaluation_has_a_loader_for_each_task(numbered: ImageDataModule, stream_of: Any) -> None:
    stream = stream_of(numbered, "test", validation_samples=16)
    assert [len(loader) for loader in stream.val_dataloader()] == [3, 3, 3]
    assert [len(loader) for loader in stream.test_dataloader()] == [7, 7, 7]
    for task, loader in enumerate(stream.val_dataloader()):
        batches = list(loader)
        assert [len(labels) for _, labels in batches] == [7, 7, 2]
        assert torch.equal(torch.cat([images for images, _ in batches]), stream.task_set(task, "val")[0])
