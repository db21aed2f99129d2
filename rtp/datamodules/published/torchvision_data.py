"""Base class of the data sets that torchvision downloads and reads."""

from abc import abstractmethod
from pathlib import PurePath

from rtp.datamodules.base import ImageDataModule, LabelledImages, one_line
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
    def read(self, split: Split, download: bool) -> LabelledImages:
        """Read a split with torchvision: images (n, C, H, W) uint8 and labels (n,) int64."""

    def prepare_data(self) -> None:
        """Download the files if one is missing, without writing to a complete root; raise DataError on failure."""
        if self._missing():
            try:
                self.read("train", download=True)
                self.read("test", download=True)
            except (OSError, RuntimeError) as error:
                raise DataError(
                    f"{self.name} cannot be downloaded ({one_line(error)}): "
                    f"put {', '.join(self._missing())} into {self.data_root} by hand."
                ) from error

    def load(self, split: Split) -> LabelledImages:
        """Read an official split; see the base class."""
        if missing := self._missing():
            raise DataError(
                f"{', '.join(missing)} of {self.name} not found in {self.data_root}: call prepare_data() to "
                "download, put the files there, or set root or RTP_DATA_DIR to the folder that has them."
            )
        try:
            return self.read(split, download=False)
        # torchvision's errors for a wrong md5 (RuntimeError), truncated files and other formats
        except (OSError, RuntimeError, ValueError, TypeError, KeyError, AssertionError) as error:
            folder = self.data_root / PurePath(self.files[0]).parent
            names = ", ".join(PurePath(file).name for file in self.files)
            raise DataError(
                f"One of the files {names} in {folder} is damaged ({one_line(error)}): "
                "delete them and run again to download them."
            ) from error

    def _missing(self) -> list[str]:
        return [file for file in self.files if not (self.data_root / file).is_file()]
