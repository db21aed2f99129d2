"""What processes exchange, without processes; tests/test_scale_out.py has two of them."""

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from rtp.utils.distributed import all_gather, interleave, mean_over_ranks, rank_and_world_size, shard_indices


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process has tensors of ones and the word "other"."""

    def all_reduce(tensor: Tensor) -> None:
        tensor += 1

    def all_gather_object(values: list[str | None], value: str) -> None:
        values[:] = ["other", value]

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    monkeypatch.setattr(dist, "all_gather_object", all_gather_object)


@pytest.mark.usefixtures("second_of_two")
def test_two_processes_exchange_what_they_have() -> None:
    own = torch.tensor(3.0, requires_grad=True)
    assert rank_and_world_size() == (1, 2)
    assert mean_over_ranks(own) == 2
    assert not mean_over_ranks(own).requires_grad
    assert own == 3  # as it was
    assert all_gather("mine") == ["other", "mine"]
    assert all_gather(None) == ["other", None]


@pytest.mark.usefixtures("second_of_two")
def test_a_loss_that_is_not_finite_is_seen_by_all() -> None:
    assert not mean_over_ranks(torch.tensor(float("inf"))).isfinite()
    assert not mean_over_ranks(torch.tensor(float("nan"))).isfinite()


def test_a_process_alone_exchanges_nothing() -> None:
    assert rank_and_world_size() == (0, 1)
    assert all_gather("mine") == ["mine"]
    assert mean_over_ranks(torch.tensor(3.0)) == 3


def test_every_nth_network_is_this_process_s(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(shard_indices(3)) == [0, 1, 2]
    monkeypatch.setattr("rtp.utils.distributed.rank_and_world_size", lambda: (1, 2))
    assert list(shard_indices(3)) == [1]
    assert list(shard_indices(1)) == []


def test_networks_come_back_in_their_order() -> None:
    assert interleave([[0, 3], [1], [2]]) == (0, 1, 2, 3)
    assert interleave([[0], []]) == (0,)
