"""Experts: trained as a plain loop trains them, stored a file each, and never mixed up."""

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from rtp.errors import DataError, UserError
from rtp.modules import ConvNet, FlipOrRotate
from rtp.modules.matching.experts import ExpertBuffer, default_folder, fingerprint, made_of, train_expert
from rtp.modules.networks.training import TrainingProtocol
from rtp.utils.seeds import derived_seed

SHAPE, CLASSES, EPOCHS = (1, 4, 4), 3, 3
PROTOCOL = TrainingProtocol(EPOCHS, batch_size=4, learning_rate=0.2, momentum=0.5)


def build() -> ConvNet:
    return ConvNet(SHAPE, CLASSES, width=2, depth=1)


def real() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(10, *SHAPE, generator=generator), torch.arange(10) % CLASSES


def facts(seed: int = 0, protocol: TrainingProtocol = PROTOCOL) -> dict[str, str]:
    return made_of("ten", *real(), build(), protocol, None, seed)


def buffer(folder: Path, seed: int = 0, protocol: TrainingProtocol = PROTOCOL) -> ExpertBuffer:
    return ExpertBuffer(folder, facts(seed, protocol), protocol.epochs)


def expert(seed: int = 0) -> Tensor:
    return train_expert(build, *real(), PROTOCOL, None, seed)


def test_an_expert_is_trained_by_sgd_from_its_first_weights() -> None:
    weights = expert(seed=5)
    images, labels = real()
    torch.manual_seed(5)
    network = build()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.2, momentum=0.5)
    generator = torch.Generator().manual_seed(derived_seed(5, 0))
    expected = [nn.utils.parameters_to_vector(network.parameters()).detach().clone()]
    for _ in range(EPOCHS):
        for chosen in torch.randperm(10, generator=generator).split(4):
            optimizer.zero_grad()
            F.cross_entropy(network(images[chosen]), labels[chosen]).backward()
            optimizer.step()
        expected.append(nn.utils.parameters_to_vector(network.parameters()).detach().clone())
    torch.testing.assert_close(weights, torch.stack(expected), rtol=0, atol=0)


def test_an_expert_follows_from_its_seed_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first = expert(3)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(expert(3), first)
    assert not torch.equal(expert(4), first)
    augmented = train_expert(build, *real(), PROTOCOL, FlipOrRotate(), 3)
    assert torch.equal(augmented[0], first[0])
    assert not torch.equal(augmented[1], first[1])


def test_weights_that_are_not_finite_are_refused() -> None:
    with pytest.raises(UserError, match=r"an expert's weights are not finite: lower its learning rate 1e\+30"):
        train_expert(build, *real(), dataclasses.replace(PROTOCOL, learning_rate=1e30), None, 0)


def test_what_was_stored_comes_back_row_by_row(tmp_path: Path) -> None:
    stored = buffer(tmp_path / "new" / "folder")
    assert not stored.holds(0)
    weights = expert()
    stored.store(0, weights)
    assert stored.holds(0)
    assert not stored.holds(1)
    first, last = stored.weights(0, (1, EPOCHS))
    assert torch.equal(first, weights[1])
    assert torch.equal(last, weights[EPOCHS])
    assert [path.name for path in stored.folder.iterdir()] == ["expert_0000.safetensors"]


def test_a_write_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    stored = buffer(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="cannot be written"):
            stored.store(0, expert())
    assert list(tmp_path.iterdir()) == []
    assert not stored.holds(0)


def test_experts_of_something_else_are_refused_and_kept(tmp_path: Path) -> None:
    buffer(tmp_path).store(0, expert())
    before = (tmp_path / "expert_0000.safetensors").read_bytes()
    others = {
        "seed (seed 0, not 1)": buffer(tmp_path, seed=1),
        'protocol (protocol {"epochs": 3': buffer(tmp_path, protocol=dataclasses.replace(PROTOCOL, learning_rate=0.1)),
    }
    for what, other in others.items():
        message = re.escape(f"is an expert of other things: {what}")
        with pytest.raises(UserError, match=message) as error:
            other.holds(0)
        assert "\n" not in str(error.value)
        with pytest.raises(UserError, match=message):
            other.store(0, expert(1))
    assert (tmp_path / "expert_0000.safetensors").read_bytes() == before


def test_each_thing_that_an_expert_follows_from_is_noticed() -> None:
    images, labels = real()
    other = images.clone()
    other[3, 0, 0, 0] += 1e-6
    variants = [
        facts(),
        facts(seed=1),
        facts(protocol=dataclasses.replace(PROTOCOL, momentum=0)),
        facts(protocol=dataclasses.replace(PROTOCOL, weight_decay=5e-4)),
        facts(protocol=dataclasses.replace(PROTOCOL, drop_after=0.5)),
        made_of("other", images, labels, build(), PROTOCOL, None, 0),
        made_of("ten", other, labels, build(), PROTOCOL, None, 0),
        made_of("ten", images, labels.flip(0), build(), PROTOCOL, None, 0),
        made_of("ten", images, labels, ConvNet(SHAPE, CLASSES, width=3, depth=1), PROTOCOL, None, 0),
        made_of("ten", images, labels, build(), PROTOCOL, FlipOrRotate(15), 0),
        made_of("ten", images, labels, build(), PROTOCOL, FlipOrRotate(30), 0),
    ]
    assert len({default_folder(variant) for variant in variants}) == len(variants)
    assert default_folder(facts()) == default_folder(facts())
    assert default_folder(facts()).name.startswith("ten-")


def test_experts_of_before_weight_decay_are_still_the_same() -> None:
    assert json.loads(facts()["protocol"]) == {"epochs": EPOCHS, "batch_size": 4, "learning_rate": 0.2, "momentum": 0.5}


def test_the_fingerprint_is_of_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = real()
    whole = fingerprint(images, labels)
    monkeypatch.setattr("rtp.modules.matching.experts.HASHED_AT_ONCE", 3)
    assert fingerprint(images, labels) == whole
    assert fingerprint(images.transpose(2, 3), labels) != whole  # not contiguous, other content


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign", "short"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    stored = buffer(tmp_path)
    stored.store(0, expert())
    path = stored.path(0)
    if damage == "foreign":
        save_file({"other": torch.zeros(2)}, path)
    elif damage == "short":
        stored = ExpertBuffer(tmp_path, stored.made_of, EPOCHS + 1)
    else:
        path.write_bytes(path.read_bytes()[: 100 if damage == "truncated" else 0])
    with pytest.raises(DataError, match=r"expert_0000.safetensors' is missing, damaged or no expert's file: remove it"):
        stored.holds(0)


def test_a_file_that_has_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expert_0000.safetensors' is missing"):
        buffer(tmp_path).weights(0, (0,))
