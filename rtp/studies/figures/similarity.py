"""The coefficient similarity map (figures 3 and 6), with the superclasses of CIFAR-100."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Literal

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from rtp.artefact import DistilledMemory
from rtp.errors import UserError
from rtp.studies.figures.style import new_figure, shown_name, styled, text_width
from rtp.studies.figures.superclasses import BlockSimilarity, block_similarity, superclass_of, superclass_order
from rtp.utils.pictures import class_similarity

Order = Literal["superclass", "given"]

WRITTEN_CLASSES = 12
"""Largest number of classes for which cells show their value."""
_LARGEST_CELL, _SMALLEST_CELL, _MAP = 0.42, 0.08, 6.0  # inches: bounds of a cell, and the width that cells share


@dataclass(frozen=True, eq=False)
class ClassMap:
    """Similarities of classes, in drawing order.

    Attributes:
        similarity: (C, C) cosine similarities, in [-1, 1].
        names: C class names.
        groups: Superclass of each class, equal ones adjacent; empty without superclasses.
    """

    similarity: Tensor
    names: tuple[str, ...]
    groups: tuple[str, ...] = ()

    @cached_property
    def blocks(self) -> BlockSimilarity | None:
        """Similarity within and between superclasses; None if there is nothing to compare."""
        return block_similarity(self.similarity, self.groups) if self.groups else None


def class_map(memory: DistilledMemory, order: Order | None = None, classes: Sequence[str] | None = None) -> ClassMap:
    """Cosine similarities of a memory's mean coefficients.

    Args:
        memory: A memory with addressing matrices.
        order: "superclass" for blocks of CIFAR-100's superclasses, "given" for the order of `classes`, or of the
            labels; by default "superclass" if all names are CIFAR-100's.
        classes: Names of the shown classes, by default all.

    Raises:
        UserError: If the memory has no addressing matrices, or a class is unknown or has no superclass.
    """
    if memory.description.kind == "pixel":
        raise UserError("the classes of a pixel memory share no bases, so there is no similarity of coefficients")
    if memory.description.kind == "image":
        raise UserError("a memory that is addressed by images has no coefficients of its classes")
    places = class_places(memory, memory.class_names if classes is None else classes)
    names = [memory.class_names[place] for place in places]
    if order is None:
        order = "superclass" if all(map(superclass_of, names)) else "given"
    if order == "superclass":
        ordered = superclass_order(names)
        places, names = [places[i] for i in ordered], [names[i] for i in ordered]
    groups = tuple(superclass_of(name) or "" for name in names) if order == "superclass" else ()
    return ClassMap(class_similarity(memory.memory.coefficients().detach()[places]), tuple(names), groups)


def class_places(memory: DistilledMemory, classes: Sequence[str]) -> list[int]:
    """Labels of named classes of a memory; raise UserError if a class is unknown or named twice."""
    for name in classes:
        if name not in memory.class_names:
            there = ", ".join(map(shown_name, memory.class_names[:10]))
            raise UserError(f"there is no class {name!r} in this memory of {memory.num_classes}: {there}, ...")
    if len(set(classes)) < len(classes):
        raise UserError(f"the classes {', '.join(classes)} are not distinct: name each of them once")
    return [memory.class_names.index(name) for name in classes]


@styled()
def similarity_figure(classes: ClassMap, title: str) -> Figure:
    """Draw a similarity map: blue negative, white 0, red positive; superclasses are framed.

    The colour range ends at the largest similarity of two classes, rounded up to 0.1, so that faint maps are legible;
    the diagonal, which is 1, may exceed it.
    """
    count = len(classes.names)
    cell = min(_LARGEST_CELL, max(_SMALLEST_CELL, _MAP / count))
    size = min(8.0, 72 * cell * 0.9)
    names = [shown_name(name) for name in classes.names]
    labels = max(text_width(name, size) for name in names)
    group_labels = max((text_width(shown_name(name), _group_size(size)) for name in classes.groups), default=0)
    figure = new_figure(max(cell * count + labels + group_labels + 1.2, 4.2), max(cell * count + labels, 1.6) + 0.8)
    axes = figure.subplots()
    others = classes.similarity[~torch.eye(count, dtype=torch.bool)]
    largest = float(others.abs().max()) if len(others) else 1.0
    limit = min(1.0, max(0.1, -(-round(largest * 1000) // 100) / 10))
    # vector cells, as PDF viewers may blur images; edges of the same colour close the gaps
    mesh = axes.pcolormesh(
        classes.similarity.cpu().numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, edgecolors="face", linewidth=0.05
    )
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    middles = [place + 0.5 for place in range(count)]
    axes.set_xticks(middles, names, rotation=90, fontsize=size)
    axes.set_yticks(middles, names, fontsize=size)
    axes.tick_params(length=0, pad=2)
    if count <= WRITTEN_CLASSES:
        _write(axes, classes.similarity, limit)
    _frame(axes, classes.groups, size)
    bar = figure.colorbar(mesh, ax=axes, shrink=0.6, aspect=30, pad=0.02, extend="max" if limit < 1 else "neither")
    bar.set_label("cosine similarity of mean coefficients")
    bar.outline.set_visible(False)
    figure.suptitle(title if classes.blocks is None else f"{title}\n{describe(classes.blocks)}", fontsize=9)
    return figure


def describe(blocks: BlockSimilarity) -> str:
    """Both means and the p-value in one line."""
    return (
        f"mean similarity {blocks.within:z.2f} within superclasses, {blocks.between:z.2f} between "
        f"(p = {blocks.p_value:.4f}, {blocks.permutations:,} permutations)"
    )


def _group_size(size: float) -> float:
    return min(8.0, size * 1.25)  # larger: one name spans five rows


def _write(axes: Axes, similarity: Tensor, limit: float) -> None:
    for row, line in enumerate(similarity.tolist()):
        for column, value in enumerate(line):
            colour = "white" if abs(value) > 0.6 * limit else "black"
            text = f"{value:z.2f}".replace("-", "\u2212")
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6.5, color=colour)


def _frame(axes: Axes, groups: tuple[str, ...], size: float) -> None:
    start = 0
    for name, members in groupby(groups):
        length = len(list(members))
        for line in (axes.axhline, axes.axvline) if start else ():
            line(start, color="#888888", linewidth=0.35)
        axes.add_patch(Rectangle((start, start), length, length, fill=False, linewidth=0.9, zorder=3))
        x, y = len(groups) * 1.01, start + length / 2
        axes.text(x, y, shown_name(name), fontsize=_group_size(size), va="center", ha="left")
        start += length
