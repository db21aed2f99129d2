"""Values of the Trainer's options that would train nothing are refused by name."""

import pytest

from rtp.errors import UserError
from rtp.runs.trainer_options import check_trainer_options, interval_within


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gradient_clip_val", -1),
        ("gradient_clip_val", float("nan")),
        ("log_every_n_steps", -1),
        ("accumulate_grad_batches", 0),
        ("accumulate_grad_batches", -3),
        ("max_epochs", 0),
        ("max_epochs", -2),
        ("max_steps", -5),
        ("num_nodes", 0),
        ("limit_train_batches", 0),
        ("limit_train_batches", 0.0),
        ("val_check_interval", 0.5),
        ("val_check_interval", 0),
        ("val_check_interval", -10),
        ("val_check_interval", float("nan")),
        ("enable_checkpointing", False),
        ("precision", "bf16-mixed"),
        ("precision", "16-mixed"),
        ("precision", "64-true"),
        ("precision", 16),
        ("precision", "transformer-engine"),
    ],
)
def test_nonsense_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"^trainer.{name} is {str(value).lower()}"):
        check_trainer_options({name: value})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_steps": 0, "max_epochs": None},
        {"val_check_interval": 0.25, "check_val_every_n_epoch": 1},
        {"max_steps": -1, "max_epochs": 3},
        {"val_check_interval": 1.0, "gradient_clip_val": 0},
        {"limit_train_batches": 0.5, "log_every_n_steps": 0, "accumulate_grad_batches": 4},
        {"val_check_interval": "00:10:00", "enable_checkpointing": True},
        {"precision": "32-true"},
        {"precision": 32},
        {"precision": None},
    ],
)
def test_sense_is_left(options: dict[str, object]) -> None:
    check_trainer_options(options)


@pytest.mark.parametrize(
    ("options", "interval"),
    [
        ({"max_steps": 30, "val_check_interval": 100}, 30),
        ({"max_steps": 30, "val_check_interval": 100, "accumulate_grad_batches": 2}, 60),
        ({"max_steps": 100, "val_check_interval": 100}, None),
        ({"max_steps": -1, "val_check_interval": 100}, None),
        ({"max_steps": 30, "val_check_interval": None}, None),
        ({"max_steps": 30, "val_check_interval": 100, "limit_val_batches": 0}, None),
        ({"max_steps": 30, "val_check_interval": 100, "fast_dev_run": True}, None),
    ],
)
def test_a_run_shorter_than_its_first_validation_is_validated_at_its_end(
    options: dict[str, object], interval: int | None
) -> None:
    assert interval_within(options) == interval
