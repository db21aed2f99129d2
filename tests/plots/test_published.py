"""The paper's numbers, a few from each table, and when they are shown."""

import pytest

pytest.importorskip("matplotlib", reason="figures need the extra rtp[plots]")

from rtp.plots.published import Published, in_order, published


@pytest.mark.parametrize(
    ("study", "data", "floats", "setting", "architecture", "expected"),
    [
        ("ablation", "cifar10", 30_600, "addressing augmented", "ConvNet", Published(66.4, 0.4, 7)),
        ("ablation", "cifar100", 3_072_000, "pixels", "ConvNet", Published(34.7, 0.5, 7)),
        ("ablation", "fashion_mnist", 7_840, "addressing", "ConvNet", Published(88.5, 0.1, 7)),
        ("ablation", "mnist", 392_000, "pixels downsampled", "ConvNet", Published(99.4, 0.1, 7)),
        ("ablation", "cifar10", 1_536_000, "DC", "ConvNet", Published(53.9, 0.5, 7)),
        ("momentum", "cifar10", 30_720, "none", "ConvNet", Published(40.5, 0.8, 8)),
        ("momentum", "cifar10", 307_200, "full", "ConvNet", Published(62.4, 0.4, 8)),
        ("architectures", "cifar10", 30_600, "ConvNet", "ResNet12", Published(55.9, 0.6, 6)),
        ("architectures", "cifar10", 307_100, "AlexNet", "ConvNet", Published(63.7, 0.6, 6)),
    ],
)
def test_a_number_is_that_of_its_table(
    study: str, data: str, floats: int, setting: str, architecture: str, expected: Published
) -> None:
    assert published(study, data, floats, setting, architecture) == expected


@pytest.mark.parametrize(
    ("study", "data", "floats", "setting"),
    [
        ("momentum", "digits", 640, "full"),
        ("momentum", "cifar10", 2 * 30_720, "full"),  # another budget
        ("momentum", "cifar10", 40_000, "full"),  # between two budgets
        ("momentum", "cifar10", 30_720, "adam"),
        ("unroll", "cifar10", 30_720, "full"),
        ("ablation", "mnist", 7_840, "addressing augmented"),  # a dash in the table
    ],
)
def test_what_the_paper_does_not_have_is_none(study: str, data: str, floats: int, setting: str) -> None:
    assert published(study, data, floats, setting, "ConvNet") is None


def test_settings_are_ordered_as_in_the_table() -> None:
    assert in_order("momentum", ["adam", "full", "none"]) == ["none", "full", "adam"]
    assert in_order("unroll", ["b", "a"]) == ["b", "a"]
