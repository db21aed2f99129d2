"""Mean, deviation, table and JSON of results."""

import json
from pathlib import Path

import pytest

from rtp.evaluation.results import Result, format_table
from rtp.utils.files import write_json


def result(*accuracies: float) -> Result:
    return Result("distilled", "ConvNet", accuracies, 300, 1150, 30688, 122752, 0.0222, 115, 98201.6, 1.25)


def test_mean_and_deviation_by_hand() -> None:
    assert result(0.5, 0.7).mean == pytest.approx(0.6)
    assert result(0.5, 0.7).std == pytest.approx(0.1)


def test_a_single_network_has_no_deviation() -> None:
    assert result(0.25).std == 0.0


def test_the_table_has_a_line_a_result_with_accuracies_in_percent() -> None:
    table = format_table([result(0.5, 0.7), result(0.123)])
    lines = table.splitlines()
    assert len(lines) == 4
    assert lines[0].split()[:2] == ["training", "set"]
    assert "60.00 +- 10.00" in lines[2]
    assert "1.2           115   30,688  122,752      98,202" in lines[2]
    assert "0.0222 %" in lines[2]
    assert "12.30 +- 0.00" in lines[3]
    assert len({line.index("60.00" if "60.00" in line else "12.30") + 5 for line in lines[2:]}) == 2


def test_json_round_trips_under_the_documented_names(tmp_path: Path) -> None:
    path = tmp_path / "new" / "test.json"
    write_json(path, result(0.5, 0.7).as_dict())
    content = json.loads(path.read_text())
    assert content["accuracy_mean"] == pytest.approx(0.6)
    assert content["accuracy_std"] == pytest.approx(0.1)
    assert content["accuracies"] == [0.5, 0.7]
    assert content["networks"] == 2
    assert content["architecture"] == "ConvNet"
    assert content["storage_floats"] == 30688
    assert content["storage_bytes"] == 122752
    assert [child.name for child in path.parent.iterdir()] == ["test.json"]
