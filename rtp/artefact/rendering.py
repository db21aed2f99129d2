"""Recalled images for programs without rtp: PNG files in folders, and tensors in a `.pt` file."""

from pathlib import Path

import torch
from torchvision.utils import save_image

from rtp.artefact.loaded import DistilledMemory
from rtp.utils.files import new_file, write_folder
from rtp.utils.pictures import image_grid

CONTACT_SHEET = "contact_sheet.png"
SHEET_IMAGES = 10
"""Images of each class on the contact sheet, the default of MemoryPictures."""
MAX_NAME = 60
"""Most bytes of a class's name in its folder's name; file systems allow 143 to 255 for the whole."""


def write_png(memory: DistilledMemory, path: Path, overwrite: bool) -> None:
    """Write every recalled image as `<number>_<class>/<slot>.png`, and one picture of all classes.

    The folder can be read by torchvision's ImageFolder, whose labels are the memory's, and by DD-Ranking as its
    `image_path`. Pixels are bounded and have 8 bits, so networks trained on them differ from those of the evaluation.

    Args:
        memory: What to recall from.
        path: The folder; nothing is written outside of it, whatever the classes are called.
        overwrite: Whether a folder of an earlier export is replaced.

    Raises:
        UserError: If something exists there, or the folder cannot be written.
    """

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
    (n,) int64, class by class. DD-Ranking takes them as `compute_metrics(image_tensor=saved["images"],
    hard_labels=saved["labels"])` [1], with its `use_zca` set as the data set's `zca`.

    [1] https://github.com/NUS-HPC-AI-Lab/DD-Ranking, ddranking/metrics/hard_label.py

    Args:
        memory: What to recall from.
        path: The file.
        overwrite: Whether an existing file is replaced.

    Raises:
        UserError: If there is a file already, or it cannot be written.
    """
    recalled = memory.dataset()
    content = {"images": recalled.images, "labels": recalled.labels}
    with new_file(path, overwrite) as file:
        torch.save(content, file)


def folder_names(class_names: tuple[str, ...]) -> list[str]:
    """Folder names for classes that any file system accepts: `003_cat`.

    The number, padded to equal length, makes the names distinct, sorts them by label, and makes class names such as
    "CON", "." and "" harmless.

    Args:
        class_names: Names, of any characters and length.
    """
    digits = max(3, len(str(len(class_names) - 1)))
    return [f"{label:0{digits}d}_{_safe(name)}".rstrip("_") for label, name in enumerate(class_names)]


def _safe(name: str) -> str:
    # letters and digits of any script; everything else may mean something to a file system, a shell or a terminal
    kept = "".join(character if character.isalnum() or character in "-_" else "_" for character in name[:MAX_NAME])
    return kept.encode()[:MAX_NAME].decode(errors="ignore")
