"""ZCA whitening of images as in KIP [1] and the code of "Remember the Past" [2], cached on disk.

Each image x, a vector of d = C * H * W pixels in [0, 1], is reduced to u = (x - mean(x)) / |x - mean(x)| and
mapped to W u, where C = sum_i u_i u_i^T / n over the training images, C = V E V^T and W = V (E + reg
mean(E))^(-1/2) V^T. C is the second moment, as in both codes: the mean of the data set is not subtracted.

[1] Nguyen et al., 2021, Dataset Distillation with Infinitely Wide Convolutional Networks,
    https://arxiv.org/abs/2107.13034
[2] Deng and Russakovsky, 2022, https://arxiv.org/abs/2206.02916
"""

import hashlib
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rtp.errors import DataError, UserError, first_line
from rtp.utils.checks import check_at_most, check_positive
from rtp.utils.files import atomic_write

log = logging.getLogger(__name__)

# Images whitened or summed at once: 4096 CIFAR images are 100 MB in float64.
CHUNK = 4096
# Half the norm of one pixel one grey level off; a smaller norm is the rounding error of a constant image, which becomes
# (nearly) zero instead of noise or NaN.
MINIMUM_NORM = 0.5 / 255
# Values of an image, most: the whitening takes three matrices of 2.1 GB; 64x64 colour images have 12,288.
MAX_DIMENSION = 16_384
# The authors take at most 100; from 1e6 on whitening is a multiplication by a number, and float32 loses the images.
MAX_REG = 1e6
# Part of the cache's file names: raise it when the numbers or the tensors of the file change.
CACHE_VERSION = 2
_TENSORS = ("eigenvalues", "eigenvectors", "mean", "norm")


@dataclass(frozen=True, eq=False)
class ZCA:
    """The whitening of one training set. All tensors are float64.

    Args:
        eigenvalues: E of the second moment, (d,), ascending, not negative.
        eigenvectors: V, (d, d), one eigenvector a column.
        mean: Mean of the training images' means, (), pixels in [0, 1].
        norm: Mean of the training images' norms, ().
        reg: Regularisation in units of the mean eigenvalue, positive.
    """

    eigenvalues: Tensor
    eigenvectors: Tensor
    mean: Tensor
    norm: Tensor
    reg: float

    @cached_property
    def whitening(self) -> Tensor:
        """W, (d, d) symmetric."""
        return self._power(-0.5)

    @cached_property
    def colouring(self) -> Tensor:
        """The inverse of W, (d, d) symmetric."""
        return self._power(0.5)

    def apply(self, images: Tensor) -> Tensor:
        """Whiten images with pixels in [0, 1], (n, C, H, W); shape, dtype and device stay."""
        units, _, _ = _unit_images(images)
        return (units @ self.whitening.to(units)).view_as(images)

    def invert(self, images: Tensor) -> Tensor:
        """Map whitened images (n, C, H, W) back to pixels.

        `apply` loses the mean and norm (brightness and contrast) of each image, so all get the training set's averages.
        """
        pixels = images.flatten(1) @ self.colouring.to(images) * self.norm.to(images) + self.mean.to(images)
        return pixels.view_as(images)

    def _power(self, exponent: float) -> Tensor:
        scale = (self.eigenvalues + self.reg * self.eigenvalues.mean()) ** exponent
        return (self.eigenvectors * scale) @ self.eigenvectors.T


def check_regularisation(reg: float | None) -> None:
    """Raise UserError unless the regularisation is positive and at most `MAX_REG`; None passes."""
    check_positive("zca", reg)
    check_at_most("zca", reg, MAX_REG)


def fit_zca(images: Tensor, reg: float) -> ZCA:
    """Fit the whitening, on the CPU in float64.

    Takes O(n d^2 + d^3) operations and O(d^2) memory beside the images: 3072 x 3072 for 32x32 colour images.

    Args:
        images: Training images with pixels in [0, 1], (n, C, H, W) floats on the CPU.
        reg: Regularisation in units of the mean eigenvalue, positive; the authors take 0.1 for CIFAR, 100 for SVHN.

    Raises:
        UserError: If `reg` is not positive.
        DataError: If every image is constant, or has more than `MAX_DIMENSION` values.
    """
    check_regularisation(reg)
    if (size := images[0].numel()) > MAX_DIMENSION:
        raise DataError(
            f"ZCA of images of {size:,} values needs matrices of {size:,} x {size:,} numbers ({8e-9 * size**2:,.0f} GB "
            f"each): use images of at most {MAX_DIMENSION:,} values, such as image_size "
            f"{int((MAX_DIMENSION / 3) ** 0.5)} in colour, or set zca to null."
        )
    second_moment = torch.zeros(2 * [images[0].numel()], dtype=torch.float64)
    mean, norm = torch.zeros(2, dtype=torch.float64)
    for chunk in torch.split(images, CHUNK):
        units, means, norms = _unit_images(chunk.double())
        second_moment.addmm_(units.T, units, alpha=1 / len(images))
        mean = mean + means.sum() / len(images)
        norm = norm + norms.sum() / len(images)
    if norm < MINIMUM_NORM:
        raise DataError("Every training image has one constant colour, so ZCA has nothing to whiten: set zca to null.")
    eigenvalues, eigenvectors = torch.linalg.eigh(second_moment)
    # rounding makes some eigenvalues of 0 negative; eigh returns the vectors column after column
    return ZCA(eigenvalues.clamp_min(0), eigenvectors.contiguous(), mean, norm, reg)


def load_or_fit_zca(images: Tensor, reg: float, cache_dir: Path) -> ZCA:
    """Read the whitening of uint8 images (n, C, H, W) on the CPU from the cache, or fit and cache it.

    A damaged file is replaced, a missing folder created.

    Raises:
        UserError: If `reg` is not positive or the cache cannot be written.
        DataError: If every image is constant.
    """
    check_regularisation(reg)
    key = hashlib.sha256(f"{CACHE_VERSION} {tuple(images.shape)} {float(reg)}".encode())
    key.update(images.contiguous().numpy().data)
    path = cache_dir / f"zca-{key.hexdigest()}.safetensors"
    cached = _cached(path, images[0].numel(), reg)
    if cached is not None:
        return cached
    zca = fit_zca(images.float() / 255, reg)
    stored = {name: getattr(zca, name) for name in _TENSORS}
    try:
        with atomic_write(path, shared=True) as file:
            file.write(save(stored, {"sha256": _digest(stored)}))
    except OSError as error:
        raise UserError(
            f"The ZCA cache {path} cannot be written ({error.strerror}): set XDG_CACHE_HOME to a folder that can."
        ) from error
    return zca


def _cached(path: Path, size: int, reg: float) -> ZCA | None:
    """The whitening in a file of the cache; None if there is none, or it is not what was written."""
    try:
        with safe_open(path, "pt") as file:
            digest = (file.metadata() or {}).get("sha256")
            stored = {name: file.get_tensor(name) for name in _TENSORS}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, SafetensorError) as error:
        log.warning("the ZCA cache %s is damaged (%s) and is computed again", path, first_line(error))
        return None
    shapes = {"eigenvalues": (size,), "eigenvectors": (size, size), "mean": (), "norm": ()}
    if digest != _digest(stored) or {name: tuple(tensor.shape) for name, tensor in stored.items()} != shapes:
        log.warning("the ZCA cache %s is not as it was written and is computed again", path)
        return None
    return ZCA(**stored, reg=reg)


def _digest(stored: dict[str, Tensor]) -> str:
    """SHA-256 of tensors with their names and types."""
    digest = hashlib.sha256()
    for name, tensor in stored.items():
        digest.update(f"{name} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def _unit_images(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Images (n, C, H, W) as vectors of mean 0 and norm 1, (n, d), with their means and norms, (n, 1)."""
    flat = images.flatten(1)
    means = flat.mean(1, keepdim=True)
    norms = (flat - means).norm(dim=1, keepdim=True)
    return (flat - means) / norms.clamp_min(MINIMUM_NORM), means, norms
