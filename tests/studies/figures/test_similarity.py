"""The similarity map: its order, its cells, its blocks."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch

pytest.importorskip("matplotlib", reason="figures need the extra rtp[plots]")

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.patches import Rectangle

from rtp.artefact import DistilledMemory
from rtp.datamodules import CIFAR100
from rtp.errors import UserError
from rtp.studies.figures.similarity import class_map, class_places, describe, similarity_figure
from rtp.studies.figures.superclasses import CIFAR100_SUPERCLASSES, BlockSimilarity
from rtp.utils.pictures import class_similarity

MakeMemory = Callable[..., DistilledMemory]


def cells(axes: Axes) -> np.ndarray:
    (mesh,) = [found for found in axes.collections if isinstance(found, QuadMesh)]
    values = mesh.get_array()
    assert values is not None
    return np.asarray(values)


def frames(axes: Axes) -> list[tuple[float, ...]]:
    return [(*patch.get_xy(), patch.get_width()) for patch in axes.patches if isinstance(patch, Rectangle)]


def test_classes_are_shown_as_given(make_memory: MakeMemory) -> None:
    memory = make_memory()
    whole = class_similarity(memory.memory.coefficients())
    shown = class_map(memory, classes=["hen", "cat"])
    assert (shown.names, shown.groups, shown.blocks) == (("hen", "cat"), (), None)
    assert torch.allclose(shown.similarity, whole[[3, 0]][:, [3, 0]])
    figure = similarity_figure(class_map(memory), "a title")
    axes, bar = figure.axes
    assert np.allclose(cells(axes), whole.detach())
    names = ["cat", "sea dog", "$cow$", "hen"]
    assert [label.get_text() for label in axes.get_xticklabels()] == names
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert axes.yaxis_inverted()
    assert [text.get_text() for text in axes.texts][:2] == ["1.00", f"{float(whole[0, 1]):.2f}".replace("-", "\u2212")]
    assert bar.get_ylabel() == "cosine similarity of mean coefficients"
    assert figure.get_suptitle() == "a title"


def test_the_colours_reach_to_the_largest_similarity_of_two_classes(make_memory: MakeMemory) -> None:
    shown = class_map(make_memory())
    others = shown.similarity[~torch.eye(4, dtype=torch.bool)].abs().max()
    (mesh,) = similarity_figure(shown, "").axes[0].collections
    low, high = mesh.get_clim()
    assert low == -high
    assert others <= high < others + 0.1


def test_cifar_100_has_its_superclasses_as_blocks(make_memory: MakeMemory) -> None:
    memory = make_memory(class_names=CIFAR100.class_names)
    shown = class_map(memory)
    assert shown.names == tuple(name for classes in CIFAR100_SUPERCLASSES.values() for name in classes)
    places = class_places(memory, shown.names)
    whole = class_similarity(memory.memory.coefficients())
    assert torch.allclose(shown.similarity, whole[places][:, places], atol=1e-6)
    figure = similarity_figure(shown, "CIFAR-100")
    axes = figure.axes[0]
    assert frames(axes) == [(5 * block, 5 * block, 5) for block in range(20)]
    assert [text.get_text() for text in axes.texts] == [name.replace("_", " ") for name in CIFAR100_SUPERCLASSES]
    assert shown.blocks is not None
    assert figure.get_suptitle() == f"CIFAR-100\n{describe(shown.blocks)}"
    assert class_map(memory, "given").names == CIFAR100.class_names


def test_a_hundred_names_do_not_touch_and_are_not_cut_off(make_memory: MakeMemory) -> None:
    figure = similarity_figure(class_map(make_memory(class_names=CIFAR100.class_names)), "CIFAR-100")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    rows = [label.get_window_extent() for label in axes.get_yticklabels()]
    columns = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(upper.y0 >= lower.y1 - 0.5 for upper, lower in pairwise(rows))
    assert all(left.x1 <= right.x0 + 0.5 for left, right in pairwise(columns))
    width, height = figure.canvas.get_width_height()
    boxes = [*rows, *columns, *(text.get_window_extent() for text in axes.texts), figure.axes[1].get_tightbbox()]
    for box in boxes:
        assert box is not None
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
    groups = max(text.get_window_extent().x1 for text in axes.texts)
    assert groups < boxes[-1].x0  # type: ignore[union-attr]


def test_a_subset_has_blocks_of_its_own_sizes(make_memory: MakeMemory) -> None:
    memory = make_memory(class_names=CIFAR100.class_names)
    shown = class_map(memory, classes=["oak_tree", "girl", "baby", "rocket"])
    assert shown.names == ("baby", "girl", "oak_tree", "rocket")
    assert frames(similarity_figure(shown, "").axes[0]) == [(0, 0, 2), (2, 2, 1), (3, 3, 1)]
    assert class_map(memory, classes=["oak_tree", "rocket"]).blocks is None


def test_a_comparison_is_a_line() -> None:
    assert describe(BlockSimilarity(0.314, -0.001, 0.0001, 9_999)) == (
        "mean similarity 0.31 within superclasses, 0.00 between (p = 0.0001, 9,999 permutations)"
    )


def test_what_cannot_be_shown_is_said(make_memory: MakeMemory) -> None:
    with pytest.raises(UserError, match=r"^the classes of a pixel memory share no bases, so there is no similarity"):
        class_map(make_memory(kind="pixel"))
    with pytest.raises(UserError, match=r"^'cat' is no class of CIFAR-100"):
        class_map(make_memory(), "superclass")
    with pytest.raises(
        UserError, match=r"^there is no class 'dog' in this memory of 4: cat, sea dog, .cow., hen, ...$"
    ):
        class_map(make_memory(), classes=["cat", "dog"])
    with pytest.raises(UserError, match=r"^the classes cat, cat are not distinct"):
        class_map(make_memory(), classes=["cat", "cat"])


def test_a_memory_without_coefficients_of_classes_is_refused(make_memory: MakeMemory) -> None:
    memory = make_memory()
    object.__setattr__(memory.description, "kind", "image")
    with pytest.raises(UserError, match=r"a memory that is addressed by images has no coefficients of its classes"):
        class_map(memory)
