"""CIFAR-100's superclasses against its own list of classes, and the number of blocks by hand and by enumeration."""

from itertools import permutations

import pytest
import torch

from rtp.datamodules import CIFAR100
from rtp.errors import UserError
from rtp.studies.figures.superclasses import CIFAR100_SUPERCLASSES, block_similarity, superclass_of, superclass_order


def test_twenty_superclasses_of_five_are_all_classes_once() -> None:
    assert len(CIFAR100_SUPERCLASSES) == 20
    assert {len(classes) for classes in CIFAR100_SUPERCLASSES.values()} == {5}
    assert sorted(name for classes in CIFAR100_SUPERCLASSES.values() for name in classes) == list(CIFAR100.class_names)
    assert list(CIFAR100_SUPERCLASSES) == sorted(CIFAR100_SUPERCLASSES)  # as the data set's coarse labels count


def test_the_paper_s_groups_are_there() -> None:
    # section 5.1 and appendix C name them
    trees = {superclass_of(f"{name}_tree") for name in ("maple", "oak", "palm", "pine", "willow")}
    assert trees == {"trees"}
    assert {superclass_of(name) for name in ("baby", "girl", "man", "woman")} == {"people"}
    assert len({superclass_of(name) for name in ("bridge", "castle", "house")}) == 1
    assert superclass_of("unicorn") is None


def test_classes_are_ordered_by_superclass_and_name() -> None:
    names = ["wolf", "apple", "whale", "bear", "beaver"]
    assert [names[place] for place in superclass_order(names)] == ["beaver", "whale", "apple", "bear", "wolf"]
    ordered = [CIFAR100.class_names[place] for place in superclass_order(CIFAR100.class_names)]
    assert ordered == [name for classes in CIFAR100_SUPERCLASSES.values() for name in classes]
    with pytest.raises(UserError, match=r"^'unicorn' is no class of CIFAR-100, .*: use --order given$"):
        superclass_order(["apple", "unicorn"])


def test_means_within_and_between_groups_by_hand() -> None:
    similarity = torch.tensor(
        [[1.0, 0.8, 0.1, 0.3], [0.8, 1.0, 0.2, -0.2], [0.1, 0.2, 1.0, 0.4], [0.3, -0.2, 0.4, 1.0]]
    )
    found = block_similarity(similarity, ["a", "a", "b", "b"], permutations=99)
    assert found is not None
    assert found.within == pytest.approx((0.8 + 0.4) / 2)
    assert found.between == pytest.approx((0.1 + 0.3 + 0.2 - 0.2) / 4)
    assert found.permutations == 99


def test_the_p_value_is_that_of_all_permutations() -> None:
    generator = torch.Generator().manual_seed(1)
    vectors = torch.nn.functional.normalize(torch.randn(6, 4, generator=generator), dim=1)
    similarity, groups = vectors @ vectors.T, "aabbcc"
    pairs = [(i, j) for i in range(6) for j in range(i) if groups[i] == groups[j]]

    def difference(order: tuple[int, ...]) -> float:
        own = sum(float(similarity[order[i], order[j]]) for i, j in pairs) / 3
        rest = (float(similarity.sum()) - 6) / 2 - 3 * own
        return own - rest / 12

    every = [difference(order) for order in permutations(range(6))]
    exact = sum(value >= every[0] - 1e-6 for value in every) / len(every)
    found = block_similarity(similarity, list(groups), permutations=5000)
    assert found is not None
    assert 0.02 < exact < 0.98
    assert found.p_value == pytest.approx(exact, abs=0.03)  # 4 standard deviations of 5,000 draws
    assert block_similarity(similarity, list(groups), permutations=5000) == found


def test_clear_blocks_are_significant_and_nothing_is_not() -> None:
    groups = [str(place // 5) for place in range(50)]
    blocks = torch.eye(10).repeat_interleave(5, 0).repeat_interleave(5, 1)
    clear = block_similarity(blocks, groups, permutations=199)
    nothing = block_similarity(torch.eye(50), groups, permutations=199)
    assert clear is not None
    assert nothing is not None
    assert (clear.within, clear.between, clear.p_value) == (1, 0, 1 / 200)
    assert (nothing.within, nothing.between, nothing.p_value) == (0, 0, 1)


@pytest.mark.parametrize("groups", [["a", "b", "c"], ["a", "a", "a"]])
def test_without_two_kinds_of_pairs_there_is_nothing_to_compare(groups: list[str]) -> None:
    assert block_similarity(torch.eye(3), groups) is None
