"""The settings of an evaluation."""

import math

import pytest

from rtp.errors import UserError
from rtp.evaluation.base import EvaluationSettings
from rtp.modules.networks.training import TrainingProtocol


def test_real_images_have_a_protocol_of_their_own() -> None:
    protocol = TrainingProtocol(7, 8, 0.2, 0.3, 0.1)
    assert EvaluationSettings(protocol=protocol).real_protocol == TrainingProtocol(30, 8, 0.2, 0.3, 0.1)
    changed = EvaluationSettings(protocol=protocol, real_epochs=2, real_batch_size=3, real_learning_rate=0.4)
    assert changed.real_protocol == TrainingProtocol(2, 3, 0.4, 0.3, 0.1)


@pytest.mark.parametrize("name", ["networks", "validation_networks", "real_epochs", "real_batch_size"])
def test_numbers_below_one_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} must be at least 1, got 0"):
        EvaluationSettings(**{name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [0.0, math.nan])
def test_a_learning_rate_that_is_not_positive_is_refused(rate: float) -> None:
    with pytest.raises(UserError, match="learning_rate must be above 0, got"):
        EvaluationSettings(real_learning_rate=rate)
