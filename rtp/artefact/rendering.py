"""Recalled images for programs without rtp: PNG files in folders, and tensors in a `.pt` file."""

from pathlib import Path

import torch

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

    torchvision's ImageFolder reads the folder with the memory's labels, and DD-Ranking takes it as `image_path`. Pixels
    are bounded and have 8 bits, so networks trained on them differ from those of the evaluation. Nothing is written
    outside of the folder, whatever the classes are called.

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
    (n,) int64, class by class. DD-Ranking takes them as `compute_metrics(image_tensor=saved["images"],
    hard_labels=saved["labels"])` [1], with its `use_zca` set as the data set's `zca`.

    [1] https://github.com/NUS-HPC-AI-Lab/DD-Ranking, ddranking/metrics/hard_label.py

    Raises:
        UserError: If there is a file already and no `overwrite`, or it cannot be written.
    """
    recalled = memory.dataset()
    with new_file(path, overwrite) as file:
        torch.save({"images": recalled.images, "labels": recalled.labels}, file)


def folder_names(class_names: tuple[str, ...]) -> list[str]:
    """Folder names that any file system accepts, for classes of any name: `003_cat`.

    The number, padded to equal length, makes the names distinct, sorts them by label, and makes class names such as
    "CON", "." and "" harmless.
    """
    digits = max(3, len(str(len(class_names) - 1)))
    return [f"{label:0{digits}d}_{_safe(name)}".rstrip("_") for label, name in enumerate(class_names)]


def _safe(name: str) -> str:
    # letters and digits of any script; everything else may mean something to a file system, a shell or a terminal
    kept = "".join(character if character.isalnum() or character in "-_" else "_" for character in name[:MAX_NAME])
    return kept.encode()[:MAX_NAME].decode(errors="ignore")
