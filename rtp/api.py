"""`rtp.distill`: distil a data set from Python, as `rtp fit` does with a configuration."""

import inspect
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import EarlyStopping

import rtp.datamodules
import rtp.modules
from rtp.artefact import DistilledMemory
from rtp.artefact.from_checkpoint import from_state
from rtp.callbacks import LastCheckpoint, MemoryAverage, MemoryPictures, RetrainingEvaluation
from rtp.callbacks.best_checkpoint import MONITOR, BestMemory
from rtp.callbacks.defaults import default_callbacks
from rtp.datamodules import HuggingFace, ImageDataModule, ImageFolder, TorchDataset
from rtp.datamodules.decoding import ImageSize
from rtp.errors import StoppedError, UserError, first_line
from rtp.modules import AddressableMemory, Augmentation, ConvNet, InnerSGD, MemoryDistillation
from rtp.modules.distillation.distill_arguments import check_arguments
from rtp.modules.distillation.recipe import suitable_depth, suitable_downsampling, suitable_recipe
from rtp.modules.memories.budget import StorageBudget
from rtp.modules.memories.number_formats import StoredType
from rtp.modules.networks import NetworkFactory
from rtp.modules.networks.training import isolated_rng
from rtp.runs.checkpoint_io import AtomicCheckpointIO
from rtp.runs.event_files import CurvesLogger
from rtp.runs.trainer import TRAINER_DEFAULTS, quiet_lightning
from rtp.utils.checks import check_at_least, check_in
from rtp.utils.cores import kept_threads, use_free_cores

WIDTH = 32  # of the ConvNet that images are distilled for, as in configs/digits_ipc1.yaml
VALIDATION_NETWORKS, TEST_NETWORKS = 2, 20  # the paper tests 20 networks (5.1)
LEAST_GAIN = 0.002  # in validation accuracy, as in configs/cpu/mnist_ipc1.yaml
MINUTES = "(0, 1e6]"  # two years, far below where timedelta overflows

SIGTERM_CODE = 128 + 15  # a shell's exit code for it


def distill(
    dataset: Any,
    images_per_class: float,
    *,
    num_bases: int | None = None,
    stored_as: StoredType = "float32",
    network: NetworkFactory | None = None,
    augmentation: Augmentation | Literal["auto"] | None = "auto",
    zca: float | None = None,
    class_names: Sequence[str] | None = None,
    classes: Sequence[int] | None = None,
    image_size: ImageSize | None = None,
    classes_per_step: int | None = None,
    steps: int = 1000,
    minutes: float | None = None,
    inner_steps: int | None = None,
    validation: float = 0.1,
    seed: int = 0,
    accelerator: str = "auto",
    run_dir: str | Path | None = None,
    progress: bool = True,
) -> DistilledMemory:
    """Distil a data set into a memory, and return what `rtp.load` would return for its file.

    The memory is an `AddressableMemory` that starts from training images (`init="data"`) and is learned with Adam
    through inner loops of SGD with momentum. It is validated along the way, on images that it never learns from, and
    the best one is returned. Long runs of a ConvNet end when four validations in a row have gained nothing. For
    anything else combine `rtp.datamodules`, `rtp.modules`, `rtp.callbacks` and Lightning's Trainer as this function
    does, or write a configuration for `rtp fit`.

    Args:
        dataset: A torch data set of (image, label) pairs with a length; a tuple (images, labels) of tensors or arrays;
            a `datasets.Dataset`; or the path of a folder as `ImageFolder` reads it. Images are PIL images, tensors
            (C, H, W) or arrays (H, W, C), uint8 or floats in [0, 1]; labels are integers from 0. It is read once.
        images_per_class: Storage budget, in real images of 32-bit floats per class (equation 4); above 0.
        stored_as: Format of the numbers that are learned and stored. In the same storage "int8" holds four times as
            many as "float32", and "int4" eight times.
        num_bases: Number of bases; by default `StorageBudget.balanced_bases`.
        network: Builds the networks to distil for from (image_shape, num_classes); by default a ConvNet of width 32
            and of a depth that suits the images.
        augmentation: Applied to recalled and real images alike, such as `FlipOrRotate()`; None for none. By default
            images are shifted, stretched or turned by a little in long runs, and as they are in short ones.
        zca: Regularisation of ZCA whitening, positive; by default each channel is standardised.
        class_names: By default the data set's attribute `classes`, or else the labels as numbers.
        classes: Labels of the classes to distil, numbered anew in this order; by default all.
        image_size: Height and width in pixels, or one number for a square, of images of a folder or a
            `datasets.Dataset`: they are resized to cover it and cropped at the centre. By default they keep their size.
        classes_per_step: Classes in an outer step, for data sets of many classes; by default all.
        steps: Outer steps, at least 1.
        minutes: Time, above 0, after which the training ends if the steps are not done; then the memory is validated.
            By default all steps are done.
        inner_steps: Inner steps T, at least 1; by default 20, and in long runs of a ConvNet 60. Long runs differentiate
            random windows of 10 steps, and average the memory over outer steps.
        validation: Fraction of the images of each class kept for validation, in (0, 1).
        seed: Seed of all random numbers, at least 0; the program's own random generators are unaffected.
        accelerator: As Lightning's Trainer takes it: "auto", "cpu", "gpu", ...
        run_dir: Folder for `memory.safetensors`, checkpoints, curves and pictures; by default nothing is written.
        progress: Whether to show progress bars.

    Returns:
        The memory on the CPU: `dataset()` to train on, `preprocess(images)` for real images, `save(path)`.

    Raises:
        UserError: If an argument or the data set cannot be used, or `run_dir` holds a run.
        DivergenceError: If the outer loss is NaN or infinite.
        StoppedError: If SIGTERM or SIGHUP stopped the training.
    """
    check_arguments(locals())
    check_at_least("steps", steps, 1)
    check_in("minutes", minutes, MINUTES)
    if inner_steps is not None:
        check_at_least("inner_steps", inner_steps, 1)
    settings: dict[str, Any] = {
        "validation_fraction": validation,
        "classes_per_step": classes_per_step,
        "zca": zca,
        "seed": seed,
    }
    data = _data_module(dataset, class_names, classes, image_size, settings)
    if run_dir is not None and (Path(run_dir) / "best.ckpt").exists():
        raise UserError(f"the run folder {str(run_dir)!r} exists: choose another run_dir, or delete it")
    downsampling = suitable_downsampling(data.image_shape)
    sizes = images_per_class, data.num_classes, data.image_shape, downsampling
    budget = StorageBudget(*sizes, stored_as=stored_as)
    num_bases = budget.balanced_bases() if num_bases is None else num_bases
    num_images = budget.num_matrices(num_bases) * data.num_classes
    pixels = math.prod(data.image_shape[1:])
    recipe = suitable_recipe(network, augmentation, pixels, num_images, steps, inner_steps)
    parts: dict[str, Any] = {
        "memory": partial(
            AddressableMemory,
            images_per_class=images_per_class,
            num_bases=num_bases,
            downsampling=downsampling,
            init="data",
            stored_as=stored_as,
        ),
        "network": network or partial(ConvNet, width=WIDTH, depth=suitable_depth(data.image_shape)),
        "unroll": recipe.unroll,
        "slots_per_class": max(1, recipe.images_per_inner_step // (classes_per_step or data.num_classes)),
        "inner_optimizer": InnerSGD(learning_rate=recipe.inner_learning_rate),
        "augmentation": recipe.augmentation,
        "optimizer": partial(torch.optim.Adam, lr=recipe.outer_learning_rate),
    }
    protocol = recipe.protocol
    evaluation = {"networks": TEST_NETWORKS, "validation_networks": VALIDATION_NETWORKS, "protocol": protocol}
    config = {
        "seed_everything": seed,
        "model": {"class_path": _path(MemoryDistillation), "init_args": {n: _record(p) for n, p in parts.items()}},
        "data": {"class_path": _path(TorchDataset), "init_args": settings},
        "evaluation": evaluation | {"protocol": asdict(protocol)},
    }
    folder = None if run_dir is None else Path(run_dir)
    best = BestMemory()
    callbacks = [RetrainingEvaluation(**evaluation, seed=seed), best, *default_callbacks(folder, progress)]
    if recipe.average is not None:
        callbacks.append(MemoryAverage(recipe.average))
    if recipe.patience is not None:
        callbacks.append(EarlyStopping(MONITOR, min_delta=LEAST_GAIN, patience=recipe.patience, mode="max"))
    saving: dict[str, Any] = {"logger": False, "enable_checkpointing": False}
    if folder is not None:
        callbacks += [MemoryPictures(), LastCheckpoint()]
        logger = CurvesLogger(folder, name="", version="", default_hp_metric=False)
        saving = {"logger": logger, "plugins": AtomicCheckpointIO()}
    with isolated_rng(seed), quiet_lightning(), _stops(folder):
        trainer = _trainer(
            **TRAINER_DEFAULTS,
            **saving,
            accelerator=accelerator,
            max_steps=steps,
            max_time=None if minutes is None else timedelta(minutes=float(minutes)),
            val_check_interval=recipe.validate_every,
            gradient_clip_val=2,  # the authors' code
            default_root_dir=folder,
            enable_progress_bar=progress,
            callbacks=callbacks,
        )
        with kept_threads():
            if trainer.strategy.root_device.type == "cpu":
                use_free_cores()
            trainer.fit(MemoryDistillation(data.image_shape, data.num_classes, **parts), datamodule=data)
    memory = from_state(best.state, data, config, best.steps, best.score)
    if folder is not None:
        memory.save(folder / "memory.safetensors")
    return memory


def _trainer(**settings: Any) -> L.Trainer:
    try:
        return L.Trainer(**settings)
    except (MisconfigurationException, ValueError) as error:  # no such accelerator, or no device of it
        raise UserError(f"accelerator={settings['accelerator']!r} cannot be used: {first_line(error)}") from error


@contextmanager
def _stops(folder: Path | None) -> Iterator[None]:
    """Raise StoppedError for a signal that stopped the training: a library must not end its program."""
    try:
        yield
    except SystemExit as error:
        kept = "nothing is kept, as there is no run_dir" if folder is None else f"its checkpoints are in {folder}"
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning turns Ctrl-C into SystemExit
            raise error.__context__ from None
        code = error.code if isinstance(error.code, int) else SIGTERM_CODE
        raise StoppedError(f"the distillation was stopped by a signal; {kept}", code) from error


def _data_module(
    dataset: Any,
    class_names: Sequence[str] | None,
    classes: Sequence[int] | None,
    image_size: ImageSize | None,
    settings: dict[str, Any],
) -> ImageDataModule:
    """The data module of what a program gives: a folder, a `datasets.Dataset`, a torch data set or arrays."""
    is_folder = isinstance(dataset, (str, Path))
    if is_folder or (hasattr(dataset, "features") and hasattr(dataset, "column_names")):
        if class_names is not None or classes is not None:
            raise UserError("class_names and classes are for torch data sets and arrays: this data set names its own")
        if is_folder:
            return ImageFolder(str(Path(dataset).expanduser().absolute()), image_size, **settings)
        return HuggingFace.of(dataset, image_size=image_size, **settings)
    if image_size is not None:
        raise UserError("image_size is for folders and datasets.Dataset: resize in the data set's transform")
    return TorchDataset(dataset, class_names=class_names, classes=classes, **settings)


def _record(part: Any) -> Any:
    """A part of the run as a configuration would name it."""
    if part is None or isinstance(part, (int, float, str)):
        return part
    if isinstance(part, tuple):
        return [_record(item) for item in part]
    if isinstance(part, partial):
        return {"class_path": _path(part.func), "init_args": part.keywords}
    if hasattr(part, "__qualname__"):  # a class, a function
        return {"class_path": _path(part)}
    names = inspect.signature(type(part)).parameters if is_dataclass(part) else ()
    return {"class_path": _path(type(part)), "init_args": {name: _record(getattr(part, name)) for name in names}}


def _path(named: Any) -> str:
    """The class path; for rtp's classes the one that `rtp fit` records."""
    name = named.__qualname__
    for package in (rtp.modules, rtp.datamodules):
        if name in package.__all__ and getattr(package, name) is named:
            return f"{package.__name__}.{name}"
    return f"{named.__module__}.{name}"
