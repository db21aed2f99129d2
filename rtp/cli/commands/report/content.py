"""What a report says of a run: numbers, texts and pictures, gathered from its folder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torch.nn import functional as F

from rtp.artefact import DistilledMemory
from rtp.artefact.card import in_words
from rtp.errors import UserError, first_line
from rtp.utils.pictures import class_similarity, image_grid, similarity_map, stretched

CURVES = ("val/accuracy", "val/retained_accuracy")
"""Of a memory, and of a stream's memories."""
SHOWN_CLASSES, SHOWN_IMAGES, SHOWN_BASES = 100, 10, 64
"""Most classes, recalled images of each, and bases that a page shows; so it stays below some megabytes."""
BASES_IN_A_ROW = 8
PRIVATE = ("run_dir", "ckpt_path", "weights_only")
"""Settings of this computer, which a page to be sent leaves out."""


@dataclass(frozen=True)
class Report:
    """The content of a page.

    Attributes:
        title: What was distilled.
        headline: The accuracy, in a sentence.
        facts: Names and values of what the memory is and takes.
        curve: Validation accuracy by outer step, (step, fraction of images) of each validation.
        columns: Headings of the table of results.
        results: Its rows.
        bases: PNG of the bases.
        recalled: Name and PNG of the recalled images of each class.
        left_out: Number of classes that are not shown.
        similarity: PNG of the similarity map; None where queries are images.
        settings: The run's configuration as YAML; its memory's, where there is no run.
        command: How to repeat it.
    """

    title: str
    headline: str
    facts: dict[str, str]
    curve: list[tuple[int, float]]
    columns: tuple[str, ...]
    results: list[tuple[str, ...]]
    bases: bytes
    recalled: list[tuple[str, bytes]]
    left_out: int
    similarity: bytes | None
    settings: str
    command: str


def gathered(memory: DistilledMemory, run: Path | None) -> Report:
    """Gather the content from a run's best memory and its folder; without a folder from the memory alone.

    Raises:
        UserError: If a file of the run is damaged.
    """
    description = memory.description
    of_stream = description.stream is not None
    columns, results = _of_tasks(memory) if of_stream else _results(run)
    names = memory.class_names
    if of_stream:  # the same classes in each task
        named = {label: f"task {number}: {names[label]}" for number, task in enumerate(memory.tasks) for label in task}
        names = tuple(named.get(label, name) for label, name in enumerate(names))
    by_label = memory.memory.queried_by == "labels"
    shown = min(memory.num_classes, SHOWN_CLASSES) if by_label else 0
    return Report(
        title=f"{description.dataset} in {memory.storage_bytes:,} bytes",
        headline=_headline(memory),
        facts=_facts(memory),
        curve=[] if run is None else validation_curve(run),
        columns=columns,
        results=results,
        bases=_png(_bases(memory)),
        recalled=[(names[label], _png(_of_class(memory, label))) for label in range(shown)],
        left_out=memory.num_classes - shown,
        similarity=_png(similarity_map(class_similarity(memory.memory.coefficients()), names)) if by_label else None,
        settings=_settings(memory, run),
        command="rtp fit --config settings.yaml" if run is not None else "rtp test --memory FILE.safetensors",
    )


def validation_curve(run: Path) -> list[tuple[int, float]]:
    """The validation accuracies in a run's event files, (step, fraction); a resumed run's later points win."""
    events = EventAccumulator(str(run), {"scalars": 0})
    events.Reload()
    curve = next((name for name in CURVES if name in events.Tags()["scalars"]), None)
    if curve is None:
        return []
    # the logger counts steps from 0
    return sorted({point.step + 1: float(point.value) for point in events.Scalars(curve)}.items())


def _headline(memory: DistilledMemory) -> str:
    measured = {accuracy.split: accuracy for accuracy in reversed(memory.accuracies)}  # the first of each split
    best = measured.get("test") or measured.get("validation")
    if best is None:
        return "Its accuracy has not been measured."
    spread = "" if best.std is None else f" ± {100 * best.std:.2f}"
    images = "test images" if best.split == "test" else "validation images"
    task = "" if best.task is None else f" in tasks ({best.task})"
    return (
        f"{100 * best.mean:.2f}{spread} % of the {images}{task} are classified correctly by {best.networks} new "
        f"{best.architecture}s that are trained on what this memory recalls."
    )


def _facts(memory: DistilledMemory) -> dict[str, str]:
    description, bases = memory.description, memory.memory.bases
    per = "image that asks" if description.kind == "image" else "class"
    sizes = ["x".join(map(str, shape)) for shape in (bases.shape[1:], memory.image_shape)]
    whitening = description.zca_reg
    stream = {} if description.stream is None else {"stream": in_words(description.stream)}
    return stream | {
        "classes": f"{memory.num_classes:,}",
        "stored": f"{memory.storage_floats:,} numbers of {description.stored_as}, {memory.storage_bytes:,} bytes",
        "bits a class": f"{memory.bits_per_class:,.0f}",
        "bases": f"{len(bases):,} of {sizes[0]}",
        "recalled": f"{memory.images_per_class:,} images of {sizes[1]} for each {per}",
        "preprocessing": "each channel standardised" if whitening is None else f"ZCA, regularisation {whitening:g}",
        "trained for": f"{description.steps:,} outer steps, with rtp {memory.rtp_version}",
    }


def _results(run: Path | None) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows of the results of the run's test, if it was tested."""
    file = None if run is None else run / "test.json"
    if file is None or not file.is_file():
        return (), []
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["results"]
        return (
            ("training set", "network", "accuracy (%)", "networks", "images a class", "bytes", "bits a class"),
            [
                (
                    str(row["training_set"]),
                    str(row["architecture"]),
                    f"{100 * row['accuracy_mean']:.2f} ± {100 * row['accuracy_std']:.2f}",
                    f"{row['networks']:,}",
                    f"{row['images_per_class']:,.6g}",
                    f"{row['storage_bytes']:,}",
                    f"{row['bits_per_class']:,.0f}",
                )
                for row in rows
            ],
        )
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{file} is damaged or of an older rtp ({first_line(error)}): repeat the test") from error


def _of_tasks(memory: DistilledMemory) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows of what was measured on the tasks of a stream."""
    rows: list[tuple[str, ...]] = [
        (
            a.task or "the task",
            str(a.split),
            f"{100 * a.mean:.2f}" + ("" if a.std is None else f" ± {100 * a.std:.2f}"),
            f"{a.networks:,} {a.architecture}",
        )
        for a in memory.accuracies
    ]
    return ("task", "images", "accuracy (%)", "networks"), rows


def _settings(memory: DistilledMemory, run: Path | None) -> str:
    config: dict[str, Any] = memory.description.config  # without folders
    if run is not None and (run / "config.yaml").is_file():
        try:
            whole = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"{run / 'config.yaml'} is damaged ({first_line(error)})") from error
        trainer = {name: value for name, value in (whole.get("trainer") or {}).items() if value is not None}
        trainer.pop("default_root_dir", None)
        others = {name: value for name, value in whole.items() if name not in (*PRIVATE, *config, "trainer")}
        config = {**config, "trainer": trainer, **others}
    return yaml.safe_dump(config, sort_keys=False)


def _bases(memory: DistilledMemory) -> Tensor:
    bases = memory.memory.bases[:SHOWN_BASES]
    enlarged = F.interpolate(bases, size=memory.image_shape[1:], mode="bilinear", align_corners=False)
    return image_grid(stretched(memory.normalisation.invert(enlarged)[:, :3]).split(BASES_IN_A_ROW))


def _of_class(memory: DistilledMemory, label: int) -> Tensor:
    images = memory.recall(torch.tensor([label]))[0, :SHOWN_IMAGES]
    return image_grid([memory.to_pixels(images)])


def _png(picture: Tensor) -> bytes:
    from torchvision.transforms.functional import to_pil_image

    buffer = BytesIO()
    to_pil_image(picture.clamp(0, 1)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def ticks(low: float, high: float, most: int) -> Sequence[float]:
    """Round numbers that divide an interval into at most `most` parts: multiples of 1, 2 or 5 times a power of ten."""
    span = max(high - low, 1e-9)
    power = 10.0 ** torch.tensor(span / most).log10().floor().item()
    step = next(size * power for size in (1, 2, 5, 10) if span / (size * power) <= most)
    first = -(-low // step)
    return [round((first + number) * step, 10) for number in range(int((high - first * step) / step + 1e-9) + 1)]
