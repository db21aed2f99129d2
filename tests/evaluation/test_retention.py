"""RA and BTI by hand."""

import pytest

from rtp.evaluation.retention import Retention

VALIDATION = [[0.9], [0.7, 0.8], [0.5, 0.85, 0.6]]
TEST = [[0.5, 0.6], [0.8, 0.7], [0.9, 0.4]]


def test_retained_accuracy_is_the_mean_over_tasks_and_classifiers() -> None:
    retention = Retention(TEST, VALIDATION, interferes=True)
    assert retention.retained_accuracies == pytest.approx([2.2 / 3, 1.7 / 3])
    assert retention.retained_accuracy == pytest.approx(3.9 / 6)


def test_interference_is_the_end_less_right_after_the_task() -> None:
    assert Retention(TEST, VALIDATION, interferes=True).interference == pytest.approx((-0.4 + 0.05 + 0) / 3)


def test_interference_is_none_where_it_does_not_apply_or_is_not_known() -> None:
    assert Retention(TEST, VALIDATION, interferes=False).interference is None
    assert Retention(TEST, [], interferes=True).interference is None
    assert Retention(TEST, [[0.7, 0.8], *VALIDATION[1:]], interferes=True).interference is None
    assert Retention(TEST[:2], VALIDATION, interferes=True).interference is None


def test_plain_values() -> None:
    values = Retention(TEST, VALIDATION, interferes=True).as_dict()
    assert values["retained_accuracy"] == pytest.approx(0.65)
    assert values["backward_transfer_interference"] == pytest.approx(-0.35 / 3)
    assert values["test_accuracies"] == TEST
    assert values["validation_accuracies"] == VALIDATION


def test_the_table_has_a_line_for_each_task() -> None:
    lines = Retention(TEST, VALIDATION, interferes=True).table().splitlines()
    assert lines[2].split() == ["0", "90.00", "50.00", "55.00"]
    assert lines[4].split() == ["2", "60.00", "60.00", "65.00"]
    assert lines[6] == (
        "retained accuracy 65.00 % +- 8.33 over 2 networks a task on the test sets of 3 tasks; "
        "backward transfer and interference -11.67 % (validation)"
    )


def test_what_is_not_known_is_left_out() -> None:
    lines = Retention([[0.5], [0.7]], [], interferes=False).table().splitlines()
    assert lines[2].split() == ["0", "-", "-", "50.00"]
    assert lines[5] == ("retained accuracy 60.00 % on the test sets of 2 tasks; backward transfer and interference n/a")
