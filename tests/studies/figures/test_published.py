"""The paper's numbers, whole tables as printed there, and when they are shown."""

import pytest

pytest.importorskip("matplotlib", reason="figures need the extra rtp[plots]")

from rtp.studies.figures.published import Published, in_order, published

# Written down from the paper's text: I/C, single-step GM, BPTT, BPTT + ds, full without augmentation, full
TABLE_7 = {
    ("mnist", 784): """
        1  91.7 0.5  95.2 0.3  98.2 0.1  -  98.7 0.7
        10 97.4 0.2  98.8 0.1  98.9 0.1  -  99.3 0.5
        50 98.8 0.2  99.2 0.1  99.4 0.1  -  99.4 0.4
    """,
    ("fashion_mnist", 784): """
        1  70.5 0.6  83.9 0.4  86.7 0.3  -  88.5 0.1
        10 82.3 0.4  89.1 0.2  89.1 0.1  -  90.0 0.7
        50 83.6 0.4  90.4 0.1  90.7 0.1  -  91.2 0.3
    """,
    ("svhn", 3072): """
        1  31.2 1.4  71.6 0.8  80.1 0.5  -  87.3 0.1
        10 76.1 0.6  83.1 0.3  86.2 0.2  -  89.1 0.2
        50 82.3 0.3  86.5 0.2  88.8 0.2  -  89.5 0.2
    """,
    ("cifar10", 3072): """
        1  28.3 0.5  49.1 0.6  55.2 0.5  64.2 0.6  66.4 0.4
        10 44.9 0.5  62.4 0.4  65.9 0.4  70.9 0.4  71.2 0.4
        50 53.9 0.5  70.5 0.4  71.1 0.5  72.1 0.5  73.6 0.5
    """,
    ("cifar100", 3072): """
        1  12.8 0.3  21.3 0.6  25.9 0.4  33.5 0.2  34.0 0.4
        10 25.2 0.3  34.7 0.5  36.5 0.4  40.6 0.3  42.9 0.7
    """,
}
SETTINGS_7 = ("DC", "pixels", "pixels downsampled", "addressing", "addressing augmented")
# I/C, no momentum, forward-only, full
TABLE_8 = {("cifar10", 3072): "1  40.5 0.8  45.6 0.7  49.1 0.6\n10 50.0 0.5  57.4 0.3  62.4 0.4"}
SETTINGS_8 = ("none", "forward_only", "full")


def lines(text: str) -> list[tuple[int, list[tuple[float, float] | None]]]:
    """Images a class and numbers of each line, None for a dash."""
    found = []
    for line in text.strip().splitlines():
        images, *words = line.replace("-", "- -").split()
        pairs = zip(words[::2], words[1::2], strict=True)
        found.append((int(images), [None if mean == "-" else (float(mean), float(std)) for mean, std in pairs]))
    return found


@pytest.mark.parametrize("data", TABLE_7, ids=lambda key: key[0])
def test_table_7(data: tuple[str, int]) -> None:
    name, size = data
    classes = 100 if name == "cifar100" else 10
    for images, values in lines(TABLE_7[data]):
        assert len(values) == 5
        plain, full = values[3:]
        # where nothing is augmented, the full method is what is called addressing here
        shown = [*values[:3], plain or full, full if plain else None]
        for setting, value in zip(SETTINGS_7, shown, strict=True):
            found = published("ablation", "paper", name, images * classes * size, setting, "ConvNet")
            assert found == (Published(*value, 7) if value else None)


def test_table_8() -> None:
    ((name, size),) = TABLE_8
    for images, values in lines(TABLE_8[name, size]):
        for setting, value in zip(SETTINGS_8, values, strict=True):
            assert value is not None
            assert published("momentum", "paper", name, images * 10 * size, setting) == Published(*value, 8)


@pytest.mark.parametrize(
    ("floats", "setting", "architecture", "expected"),
    [
        (30_600, "ConvNet", "ResNet12", Published(55.9, 0.6, 6)),
        (307_100, "AlexNet", "ConvNet", Published(63.7, 0.6, 6)),
    ],
)
def test_numbers_of_table_6(floats: int, setting: str, architecture: str, expected: Published) -> None:
    assert published("architectures", "paper", "cifar10", floats, setting, architecture) == expected


def test_a_budget_that_is_nearly_full_is_that_of_the_table() -> None:
    known = published("ablation", "paper_ipc10", "cifar10", 306_900, "addressing augmented")
    assert known == Published(71.2, 0.4, 7)


@pytest.mark.parametrize(
    ("study", "size", "data", "floats", "setting"),
    [
        ("momentum", "paper", "digits", 640, "full"),
        ("momentum", "paper", "cifar10", 2 * 30_720, "full"),  # another budget
        ("momentum", "paper", "cifar10", 40_000, "full"),  # between two budgets
        ("momentum", "paper", "cifar10", 30_720, "adam"),
        ("unroll", "paper", "cifar10", 30_720, "full"),
        ("ablation", "paper", "mnist", 7_840, "addressing augmented"),  # a dash in the table
        ("ablation", "mnist", "mnist", 7_840, "pixels"),  # a narrow network and few steps
    ],
)
def test_what_the_paper_does_not_have_is_none(study: str, size: str, data: str, floats: int, setting: str) -> None:
    assert published(study, size, data, floats, setting, "ConvNet") is None


def test_settings_are_ordered_as_in_the_table() -> None:
    assert in_order("momentum", ["adam", "full", "none"]) == ["none", "full", "adam"]
    assert in_order("unroll", ["b", "a"]) == ["b", "a"]
