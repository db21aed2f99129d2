"""The evaluation that takes another's place: its settings are those of the one it replaces."""

from pathlib import Path

import lightning as L
import torch

from rtp.callbacks import RetrainingEvaluation
from rtp.evaluation.base import members_of_classes
from rtp.evaluation.extrapolation import ExtrapolationEvaluation
from rtp.modules import ConvNet, FlipOrRotate
from rtp.modules.networks.training import TrainingProtocol


def test_it_has_the_settings_of_the_evaluation_that_it_replaces(tmp_path: Path) -> None:
    protocol = TrainingProtocol(7, 8, 0.2, 0.3)
    settings = RetrainingEvaluation(5, 2, protocol, [ConvNet], True, 4, 9, True, FlipOrRotate())
    trainer = L.Trainer(callbacks=[settings], logger=False, default_root_dir=tmp_path, accelerator="cpu")
    (found,) = ExtrapolationEvaluation.in_place_of_retraining(trainer)
    assert vars(found) == vars(settings)


def test_members_of_classes() -> None:
    members = members_of_classes(torch.tensor([2, 0, 2]), 3)
    assert [index.tolist() for index in members] == [[1], [], [0, 2]]
