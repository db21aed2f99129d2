"""Recalled images for programs without rtp: PNG files in folders, parquet, tensors in a `.pt` file, DD-Ranking."""

from pathlib import Path
from typing import Any

import torch
import yaml

from rtp.artefact.loaded import DistilledMemory
from rtp.artefact.recalled import fill_parquet
from rtp.datamodules.normalisation import Standardisation
from rtp.errors import UserError
from rtp.utils.files import new_file, write_folder
from rtp.utils.names import folder_names
from rtp.utils.pictures import image_grid

CONTACT_SHEET = "contact_sheet.png"
SHEET_IMAGES = 10
"""Images of each class on the contact sheet, the default of MemoryPictures."""
DD_RANKING_NAMES = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "tiny_imagenet": "TinyImageNet"}
"""What DD-Ranking 0.2 calls the data sets that it knows, ImageNet's parts aside."""
DD_RANKING_PROGRAM = """\
# Label-robust score of this memory: pip install rtp ddranking, and give real_data_path in config.yaml.
import rtp
import torch
from ddranking.config import Config
from ddranking.metrics import LabelRobustScoreHard

memory = rtp.load("memory.safetensors")
config = Config.from_file("config.yaml")
# real test images must be {how} as the recalled ones are, which a YAML file cannot say in full
config.get = lambda key, default=None, get=config.get: (
    memory.preprocess if key == "custom_val_trans" else get(key, default)
)
scorer = LabelRobustScoreHard(config=config)
images, labels = (torch.load(name, weights_only=True) for name in ("images.pt", "labels.pt"))
scorer.compute_metrics(image_tensor=images, hard_labels=labels, syn_lr=memory.protocol.learning_rate)
"""


def write_folders(memory: DistilledMemory, path: Path, overwrite: bool) -> None:
    """Write every recalled image as `<number>_<class>/<slot>.png`, and one picture of all classes.

    torchvision's ImageFolder reads the folder with the memory's labels. Pixels are bounded and have 8 bits, so networks
    trained on them differ from those of the evaluation. Nothing is written outside of the folder, whatever the classes
    are called.

    Raises:
        UserError: If something exists there (with `overwrite`: that no export wrote), or it cannot be written.
    """
    from torchvision.utils import save_image  # takes seconds, which the other formats need not wait for

    def fill(folder: Path) -> None:
        rows = []
        for label, name in enumerate(folder_names(memory.class_names)):
            images = memory.to_pixels(memory.recall(torch.tensor([label]))[0])
            (folder / name).mkdir()
            for slot, image in enumerate(images):
                save_image(image, folder / name / f"{slot:03d}.png")
            rows.append(images[:SHEET_IMAGES])
        save_image(image_grid(rows), folder / CONTACT_SHEET)

    write_folder(path, overwrite, fill)


def write_pt(memory: DistilledMemory, path: Path, overwrite: bool) -> None:
    """Write all recalled images into one file that `torch.load(path, weights_only=True)` reads.

    It is a dict of `images`, (n, C, H, W) float32 as networks are trained on them (normalised), and `labels`,
    (n,) int64, class by class.

    Raises:
        UserError: If there is a file already and no `overwrite`, or it cannot be written.
    """
    recalled = memory.dataset()
    with new_file(path, overwrite) as file:
        torch.save({"images": recalled.images, "labels": recalled.labels}, file)


def write_parquet(memory: DistilledMemory, path: Path, overwrite: bool) -> None:
    """Write all recalled images into one parquet file that `datasets.load_dataset` opens, class by class.

    The columns are `image`, PNG of 8 bits as `write_folders` writes, and `label` with the classes' names.

    Raises:
        UserError: If `datasets` is not installed, there is a file already and no `overwrite`, or it cannot be written.
    """
    recalled = memory.dataset()
    with new_file(path, overwrite) as file:
        fill_parquet(memory.to_pixels(recalled.images), recalled.labels, memory.class_names, file)


def write_ddranking(memory: DistilledMemory, path: Path, overwrite: bool) -> None:
    """Write a folder from which DD-Ranking [1] scores the memory: `python score.py` in it.

    `images.pt` are (n, C, H, W) float32, class by class and normalised, `labels.pt` (n,) int64, `config.yaml` the
    settings of its `Config`. Its real test images need the memory's normalisation: `custom_val_trans` is given in the
    YAML if it standardises channels; ZCA is the file's own `preprocess`, which `score.py` takes for both.

    [1] Li et al., DD-Ranking, arXiv:2505.13300; release 0.2.0.

    Raises:
        UserError: If DD-Ranking does not know the data set, something exists there (with `overwrite`: that no export
            wrote), or it cannot be written.
    """
    name = DD_RANKING_NAMES.get(memory.description.dataset)
    if name is None:
        known = ", ".join(DD_RANKING_NAMES)
        raise UserError(f"DD-Ranking does not know {memory.description.dataset}: it has {known}; use --format pt")
    recalled, protocol = memory.dataset(), memory.protocol
    transforms: list[dict[str, Any]] = [{"name": "ToTensor", "args": []}]
    if isinstance(memory.normalisation, Standardisation):
        mean, std = memory.normalisation.mean.tolist(), memory.normalisation.std.tolist()
        transforms.append({"name": "Normalize", "args": {"mean": mean, "std": std}})
    settings = {
        "dataset": name,
        "real_data_path": "./dataset/",
        "ipc": memory.images_per_class,
        "im_size": list(memory.image_shape[1:]),
        "model_name": "ConvNet-4" if name == "TinyImageNet" else "ConvNet-3",
        "num_epochs": protocol.epochs,
        "syn_batch_size": protocol.batch_size,
        "real_batch_size": 256,  # this and the next four are DD-Ranking's defaults
        "num_eval": 5,
        "num_workers": 4,
        "random_data_format": "tensor",
        "random_data_path": "./random_data",
        "optimizer": "sgd",
        "lr_scheduler": "step",
        "step_size": max(1, round(protocol.drop_after * protocol.epochs)),
        "momentum": protocol.momentum,
        "weight_decay": protocol.weight_decay,
        "data_aug_func": None,
        "aug_params": {},
        "use_zca": False,
        "custom_train_trans": None,
        "custom_val_trans": transforms,
        "eval_full_data": name.startswith("CIFAR"),
        "device": "cuda",
        "save_path": "./scores.csv",
    }
    how = "standardised" if len(transforms) > 1 else "whitened"

    def fill(folder: Path) -> None:
        torch.save(recalled.images, folder / "images.pt")
        torch.save(recalled.labels, folder / "labels.pt")
        text = yaml.safe_dump(settings, sort_keys=False)
        (folder / "config.yaml").write_text(text, encoding="utf-8")
        (folder / "score.py").write_text(DD_RANKING_PROGRAM.format(how=how), encoding="utf-8")
        memory.save(folder / "memory.safetensors")

    write_folder(path, overwrite, fill)
