"""The measures of continual learning by hand."""

import json

import pytest

from rtp.evaluation.retention import Retention

MATRIX = [[0.9], [0.7, 0.8], [0.5, 0.85, 0.6]]
# task 0 is best after task 1, and is lost then; task 1 gains
BETTER_LATER = [[0.4], [0.9, 0.5], [0.6, 0.7, 0.3]]
TEST = [[0.5, 0.6], [0.8, 0.7], [0.9, 0.4]]


def test_retained_accuracy_is_the_mean_over_tasks_and_classifiers() -> None:
    retention = Retention(TEST, MATRIX, interferes=True)
    assert retention.retained_accuracies == pytest.approx([2.2 / 3, 1.7 / 3])
    assert retention.retained_accuracy == pytest.approx(3.9 / 6)


def test_interference_is_the_end_less_right_after_the_task() -> None:
    assert Retention(TEST, MATRIX, interferes=True).interference == pytest.approx((-0.4 + 0.05 + 0) / 3)


@pytest.mark.parametrize(
    ("matrix", "expected"), [(MATRIX, (-0.4 + 0.05) / 2), (BETTER_LATER, (0.2 + 0.2) / 2)], ids=["lost", "gained"]
)
def test_backward_transfer_leaves_the_last_task_out(matrix: list[list[float]], expected: float) -> None:
    retention = Retention(TEST, matrix, interferes=True)
    assert retention.backward_transfer == pytest.approx(expected)
    assert retention.interference == pytest.approx(expected * 2 / 3)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    # max(0.9, 0.7) - 0.5 and 0.8 - 0.85; max(0.4, 0.9) - 0.6 and 0.5 - 0.7
    [(MATRIX, (0.4 - 0.05) / 2), (BETTER_LATER, (0.3 - 0.2) / 2)],
    ids=["best right after", "best later"],
)
def test_forgetting_is_the_best_before_less_the_end(matrix: list[list[float]], expected: float) -> None:
    assert Retention(TEST, matrix, interferes=True).forgetting == pytest.approx(expected)


@pytest.mark.parametrize("measure", ["interference", "backward_transfer", "forgetting"])
def test_a_measure_is_none_where_it_does_not_apply_or_is_not_known(measure: str) -> None:
    assert getattr(Retention(TEST, MATRIX, interferes=False), measure) is None
    assert getattr(Retention(TEST, [], interferes=True), measure) is None
    assert getattr(Retention(TEST, [[0.7, 0.8], *MATRIX[1:]], interferes=True), measure) is None
    assert getattr(Retention(TEST, MATRIX[::2], interferes=True), measure) is None
    assert getattr(Retention(TEST[:2], MATRIX, interferes=True), measure) is None


def test_one_task_has_no_transfer_to_earlier_ones() -> None:
    retention = Retention(TEST[:1], MATRIX[:1], interferes=True)
    assert (retention.interference, retention.backward_transfer, retention.forgetting) == (0, None, None)


def test_plain_values() -> None:
    values = json.loads(json.dumps(Retention(TEST, MATRIX, interferes=True).as_dict()))
    assert values["retained_accuracy"] == pytest.approx(0.65)
    assert values["backward_transfer_interference"] == pytest.approx(-0.35 / 3)
    assert values["backward_transfer"] == pytest.approx(-0.175)
    assert values["forgetting"] == pytest.approx(0.175)
    assert values["test_accuracies"] == TEST
    assert values["accuracy_matrix"] == MATRIX
    values = json.loads(json.dumps(Retention(TEST, MATRIX, interferes=False).as_dict()))
    assert [values[name] for name in ("backward_transfer_interference", "backward_transfer", "forgetting")] == [
        None
    ] * 3


def test_the_table_has_a_line_for_each_task() -> None:
    lines = Retention(TEST, MATRIX, interferes=True).table().splitlines()
    assert lines[2].split() == ["0", "90.00", "50.00", "55.00"]
    assert lines[4].split() == ["2", "60.00", "60.00", "65.00"]
    assert lines[6:] == [
        "retained accuracy 65.00 % +- 8.33 over 2 networks a task on the test sets of 3 tasks",
        "backward transfer and interference -11.67 %, backward transfer -17.50 %, forgetting 17.50 % (validation)",
    ]


def test_what_is_not_known_is_left_out() -> None:
    lines = Retention([[0.5], [0.7]], [], interferes=False).table().splitlines()
    assert lines[2].split() == ["0", "-", "-", "50.00"]
    assert lines[5:] == [
        "retained accuracy 60.00 % on the test sets of 2 tasks",
        "backward transfer and interference n/a, backward transfer n/a, forgetting n/a",
    ]
