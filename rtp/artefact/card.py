"""What a memory is, in words: its card on the Hugging Face Hub, and the summary that a console shows."""

import json
from dataclasses import dataclass

from rtp.artefact.hub import IMAGES, PREFIX
from rtp.artefact.layout import Description, Stream, task_name

LICENCES = {
    "digits": ("cc-by-4.0", "UCI, Optical Recognition of Handwritten Digits"),
    "mnist": ("cc-by-sa-3.0", "LeCun and Cortes"),
    "fashion_mnist": ("mit", "Zalando"),
    "svhn": ("other", "Netzer et al., for non-commercial use"),
    "cifar10": ("unknown", "Krizhevsky 2009 states none"),
    "cifar100": ("unknown", "Krizhevsky 2009 states none"),
    "tiny_imagenet": ("other", "ImageNet's terms, for non-commercial research"),
}
"""Of the source data, by the Hub's names, with whose they are: as their makers state them."""


@dataclass(frozen=True)
class Storage:
    """What a memory stores.

    Attributes:
        bases: (K, C, h, w), the shape of the stored images.
        numbers: Of bases, addressing matrices and all else.
        num_bytes: Of these numbers with their scales.
        normalisation_bytes: Of the normalisation beside them.
    """

    bases: tuple[int, ...]
    numbers: int
    num_bytes: int
    normalisation_bytes: int


def card(description: Description, storage: Storage, repository: str, licence: str | None = None) -> str:
    """The README.md of a repository: what was distilled into how many bits, how good it is, and how to train on it."""
    import yaml  # which opening a memory does not need

    protocol, num_classes = description.protocol, description.num_classes
    source = description.dataset if description.stream is None else description.stream.source
    known, owner = LICENCES.get(source, ("unknown", "ask the owner of the data"))
    front = {
        "license": licence or known,
        "task_categories": ["image-classification"],
        "tags": ["dataset-distillation", "rtp"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": IMAGES}]}],
    }
    bits = 8 * storage.num_bytes / num_classes
    shape, basis = ("x".join(map(str, sizes)) for sizes in (description.image_shape, storage.bases[1:]))
    accuracies = [
        f"| {a.split}{'' if a.task is None else f', {a.task}'} | {100 * a.mean:.2f}"
        f"{'' if a.std is None else f' ± {100 * a.std:.2f}'} | {a.networks} {a.architecture}, {a.epochs} epochs |"
        for a in description.accuracies
    ]
    drop = "" if protocol.drop_after == 1 else f", a tenth of it after {100 * protocol.drop_after:g} % of the epochs"
    told = "" if description.stream is None else f"\n\nStream of tasks: {in_words(description.stream)}."
    one = ".task(0)  # it has a memory for each task" if description.tasks and description.stream else ""
    settings = json.dumps(description.config, indent=1, ensure_ascii=True)
    return f"""---
{yaml.safe_dump(front, sort_keys=False).strip()}
---

# {description.dataset}, distilled into {storage.num_bytes:,} bytes

A memory from which networks are trained in place of {description.dataset}: {storage.bases[0]} stored images of {basis}
recall {description.num_slots} images of {shape} for each of {num_classes} classes. It was distilled in
{description.steps:,} outer steps with rtp {description.rtp_version}, which implements Deng and Russakovsky,
"Remember the Past" (NeurIPS 2022).{told}

| storage | |
| --- | --- |
| numbers | {storage.numbers:,} of {description.stored_as} |
| bytes | {storage.num_bytes:,}, and {storage.normalisation_bytes:,} of the normalisation |
| bits a class | {bits:,.0f} |
| images recalled a class | {description.num_slots} |

| accuracy (%) | mean ± deviation over networks | of |
| --- | --- | --- |
{chr(10).join(accuracies) or "| not measured | | |"}

Each network is new: {protocol.architecture}, SGD with learning rate {protocol.learning_rate:g}{drop}, momentum
{protocol.momentum:g}, minibatches of {protocol.batch_size}, augmentation {protocol.augmentation or "none"}.

## Train on it

```python
import rtp

memory = rtp.load("{PREFIX}{repository}"){one}
train = memory.dataset()  # recalled images, normalised, and labels: a torch data set
inputs = memory.preprocess(images)  # what a network must see of real images
```

`datasets.load_dataset("{repository}")` opens the recalled images as pictures of 8 bits, which lose a little.

## Licence of the source data

{licence or known}: {owner}.

## Settings

```json
{settings}
```
"""


def in_words(stream: Stream) -> str:
    """Which tasks of which stream memories are of, in a line."""
    rest = "".join(f", {name} {value}" for name, value in stream.arguments.items() if value is not None)
    which = f"{len(stream.steps)} finished" if stream.task is None else f"number {stream.task}"
    counts = sorted(set(stream.samples))
    samples = f"{counts[0]:,}" if len(counts) < 2 else f"{counts[0]:,} to {counts[-1]:,}"
    return (
        f"{stream.kind} {stream.source}, seed {stream.seed}, {stream.tasks} tasks ({which}) of {samples} samples{rest}"
    )


def summary(description: Description, memory: str, storage: Storage) -> str:
    """Five lines: data and classes, memory and bytes, normalisation, protocol, accuracies but those of each task.

    Args:
        description: The memory's.
        memory: Its class.
        storage: What it takes.
    """
    shape = "x".join(map(str, description.image_shape))
    of_tasks = [task_name(number) for number in range(len(description.tasks or ()))]
    accuracies = ", ".join(
        f"{100 * a.mean:.2f} % ({a.split}, {a.networks} networks)"
        for a in description.accuracies
        if a.task not in of_tasks
    )
    tasks = f" of {len(of_tasks)} tasks" if of_tasks else ""
    return (
        f"DistilledMemory of {description.dataset}: {description.num_classes} classes{tasks}, images of {shape}\n"
        f"  {memory}: {description.num_slots} images a {'query' if description.kind == 'image' else 'class'}, "
        f"{storage.numbers:,} floats, {storage.num_bytes:,} bytes as {description.stored_as}\n"
        f"  normalisation: {'Standardisation' if description.zca_reg is None else 'ZCA'}, "
        f"{storage.normalisation_bytes:,} bytes\n"
        f"  protocol: {description.protocol.architecture}, {description.protocol.epochs} epochs\n"
        f"  accuracy: {accuracies or 'not measured'}"
    )
