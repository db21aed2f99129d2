"""Base class of the data sets that torchvision downloads and reads."""

from abc import abstractmethod
from pathlib import Path, PurePath

from rtp.datamodules.base import ImageDataModule, LabelledImages, one_line
from rtp.datamodules.published.downloading import downloading
from rtp.datamodules.sampling import Split
from rtp.errors import DataError


class TorchvisionDataModule(ImageDataModule):
    """A data set that torchvision downloads, checks and reads.

    A concrete class defines `class_names`, `image_shape`, `files` and `read`.
    """

    @property
    @abstractmethod
    def files(self) -> tuple[str, ...]:
        """The files torchvision reads, relative to the data root."""

    @abstractmethod
    def read(self, split: Split, root: Path, download: bool) -> LabelledImages:
        """Read a split below `root` with torchvision: images (n, C, H, W) uint8 and labels (n,) int64."""

    def prepare_data(self) -> None:
        """Download the files if one is missing, without writing to a complete root; raise DataError on failure."""
        if missing := self._missing():
            with downloading(self.name, self.data_root, missing, by_hand=", ".join(missing)) as folder:
                self.read("train", folder, download=True)
                self.read("test", folder, download=True)

    def load(self, split: Split) -> LabelledImages:
        """Read an official split; see the base class."""
        if missing := self._missing():
            raise DataError(
                f"{', '.join(missing)} of {self.name} not found in {self.data_root}: call prepare_data() to "
                "download, put the files there, or set root or RTP_DATA_DIR to the folder that has them."
            )
        try:
            return self.read(split, self.data_root, download=False)
        # torchvision's errors for a wrong md5 (RuntimeError), truncated files and other formats
        except (OSError, RuntimeError, ValueError, TypeError, KeyError, AssertionError) as error:
            folder = self.data_root / PurePath(self.files[0]).parent
            names = ", ".join(PurePath(file).name for file in self.files)
            raise DataError(
                f"One of the files {names} in {folder} is damaged ({one_line(error)}): "
                "delete them and run again to download them."
            ) from error

    def _missing(self) -> tuple[str, ...]:
        return tuple(file for file in self.files if not (self.data_root / file).is_file())
