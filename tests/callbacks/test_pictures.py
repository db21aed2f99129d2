"""What the pictures show: the data set's own pixels, upside right, and bases in rows."""

from pathlib import Path

import lightning as L
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from rtp.callbacks import MemoryPictures
from rtp.datamodules import ImageDataModule
from rtp.datamodules.sampling import Split
from rtp.modules import MLP, HigherUnroll, MemoryDistillation, PixelMemory
from rtp.utils.fonts import font_of
from rtp.utils.pictures import within_range


class Noise(ImageDataModule):
    class_names = ("one", "two", "three")
    image_shape = (1, 32, 32)

    def load(self, split: Split) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(256, (30, 1, 32, 32), generator=generator, dtype=torch.uint8)
        return images, torch.arange(30) % 3


def read(path: Path) -> Tensor:
    return pil_to_tensor(Image.open(path)).float() / 255


def test_recalled_images_are_shown_as_pixels(tmp_path: Path) -> None:
    data = Noise(zca=0.1)
    data.setup("test")
    module = MemoryDistillation(
        (1, 32, 32), 3, lambda shape, classes: PixelMemory(shape, classes, 2), MLP, HigherUnroll(1), 1
    )
    raw, _ = data.load("test")
    # what is left of them after ZCA: one mean, one norm
    pixels = within_range(data.normalisation.invert(data.preprocess(raw[:6])))
    with torch.no_grad():
        module.memory.bases.copy_(data.preprocess(raw[:6]))
    trainer = L.Trainer(
        callbacks=[MemoryPictures(max_classes=2, max_images=4)], logger=False, default_root_dir=tmp_path,
        enable_progress_bar=False, accelerator="cpu",
    )  # fmt: skip
    trainer.test(module, datamodule=data, verbose=False)

    recalled = read(tmp_path / "recalled.png")
    side, gap = 64, 2  # enlarged twice
    # two classes, two images each; the names of the classes to the left, a caption below
    left = max(int(font_of([name], 13)[0].getlength(name)) for name in ("one", "two")) + 8
    assert (recalled[:, : 2 * (side + gap), :left] < 0.5).any()
    second_of_first = recalled[0, gap : gap + side, left + 2 * gap + side : left + 2 * (gap + side)]
    torch.testing.assert_close(second_of_first[::2, ::2], pixels[1, 0], rtol=0, atol=0.01)
    bases = read(tmp_path / "bases.png")
    width = 4 * (side + gap) + gap  # six in rows of four
    assert (bases[:, side + 2 * gap : 2 * (side + gap), width - side :] == 1).all()  # the last row is filled with white
    assert (bases[:, 2 * (side + gap) + gap :] < 0.5).any()  # the caption
    similarity = read(tmp_path / "similarity.png")
    map_side = max(int(font_of([name], 13)[0].getlength(name)) for name in data.class_names) + 8 + 72
    similarity = similarity[:, :map_side, :map_side]
    # different classes use different pixels: the diagonal is red, the rest white
    assert similarity[2, -72:, -72:].reshape(3, 24, 3, 24).mean((1, 3)).sub(1 - 0.83 * torch.eye(3)).abs().max() < 0.01
