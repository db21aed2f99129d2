import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from rtp.datamodules.normalisation import zca as zca_file
from rtp.datamodules.normalisation.zca import fit_zca, load_or_fit_zca
from rtp.errors import DataError, UserError

REG = 0.1


@pytest.fixture
def images() -> Tensor:
    """200 correlated images of 2x4x3 pixels."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(200, 24, generator=generator, dtype=torch.float64)
    mixed = noise @ torch.rand(24, 24, generator=generator, dtype=torch.float64)
    return (mixed / mixed.max() * 255).round().to(torch.uint8).view(200, 2, 4, 3)


def authors_zca(train: np.ndarray, test: np.ndarray, reg: float) -> np.ndarray:
    """The formulas of the authors' code, in NumPy: a second, independent way."""
    train, test = (x.reshape(len(x), -1).astype(np.float64) for x in (train, test))
    train, test = (x - x.mean(1, keepdims=True) for x in (train, test))
    train, test = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (train, test))
    covariance = train.T @ train / len(train)
    ridge = reg * np.trace(covariance) / len(covariance)
    u, s, _ = np.linalg.svd(covariance + ridge * np.eye(len(covariance)))
    return np.asarray(test @ (u / np.sqrt(s)) @ u.T)


def test_whitening_by_hand() -> None:
    # The images become +-(1, -1) / sqrt(2), so C = [[1, -1], [-1, 1]] / 2 with eigenvalues 0 and 1, mean 1/2.
    # With reg 6, W divides (1, -1) by sqrt(1 + 3) = 2. The means are 0.5 and 0.3, the norms 1 / sqrt(2) and
    # 0.2 / sqrt(2).
    images = torch.tensor([[1.0, 0.0], [0.2, 0.4]], dtype=torch.float64).view(2, 1, 1, 2)
    zca = fit_zca(images, reg=6.0)
    torch.testing.assert_close(zca.eigenvalues, torch.tensor([0.0, 1.0], dtype=torch.float64), atol=1e-15, rtol=0)
    expected = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64).view(2, 1, 1, 2) / 8**0.5
    torch.testing.assert_close(zca.apply(images), expected)
    assert zca.mean.item() == pytest.approx(0.4)
    assert zca.norm.item() == pytest.approx(0.6 / 2**0.5)
    # the mean image of the mean norm: 0.4 +- 0.6 / sqrt(2) / sqrt(2)
    torch.testing.assert_close(zca.invert(expected).flatten(1)[0], torch.tensor([0.7, 0.1], dtype=torch.float64))


@pytest.mark.parametrize("chunk", [4096, 37])
def test_agrees_with_the_authors_formulas(images: Tensor, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zca_file, "CHUNK", chunk)
    train, test = images[:150], images[150:].double() / 255
    whitened = fit_zca(train.double() / 255, REG).apply(test)
    expected = authors_zca(train.numpy(), test.numpy(), REG)
    np.testing.assert_allclose(whitened.flatten(1).numpy(), expected, rtol=1e-9, atol=1e-9)


def test_second_moment_of_whitened_images(images: Tensor) -> None:
    zca = fit_zca(images.double() / 255, REG)
    whitened = zca.apply(images.double() / 255).flatten(1)
    in_eigenbasis = zca.eigenvectors.T @ (whitened.T @ whitened / len(images)) @ zca.eigenvectors
    expected = zca.eigenvalues / (zca.eigenvalues + REG * zca.eigenvalues.mean())
    torch.testing.assert_close(in_eigenbasis, expected.diag(), rtol=1e-10, atol=1e-10)
    # unit vectors: the eigenvalues of their second moment sum to 1
    assert zca.eigenvalues.sum().item() == pytest.approx(1)


def test_invert_recovers_images_of_mean_brightness_and_contrast(images: Tensor) -> None:
    flat = images.double().flatten(1) / 255
    zca = fit_zca(images.double() / 255, REG)
    centred = flat - flat.mean(1, keepdim=True)
    typical = (centred / centred.norm(dim=1, keepdim=True) * zca.norm + zca.mean).view_as(images)
    torch.testing.assert_close(zca.invert(zca.apply(typical)), typical)
    assert zca.mean.item() == pytest.approx(flat.mean().item())
    assert zca.norm.item() == pytest.approx(centred.norm(dim=1).mean().item())


def test_float32_stays_close_to_float64(images: Tensor) -> None:
    zca = fit_zca(images.double() / 255, REG)
    applied = zca.apply(images.float() / 255)
    assert applied.dtype == torch.float32
    torch.testing.assert_close(applied.double(), zca.apply(images.double() / 255), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_image_becomes_almost_zero(images: Tensor, dtype: torch.dtype) -> None:
    zca = fit_zca(images.double() / 255, REG)
    constant = torch.full((1, 2, 4, 3), 0.3, dtype=dtype)
    assert zca.apply(constant).abs().max() < 1e-3  # other images: about 1


def test_constant_image_in_the_training_set_gives_no_nan(images: Tensor) -> None:
    images[0] = 77
    assert fit_zca(images.double() / 255, REG).whitening.isfinite().all()


def test_only_constant_images_are_refused() -> None:
    with pytest.raises(DataError, match=r"one constant colour.* set zca to null"):
        fit_zca(torch.full((5, 1, 2, 2), 0.3), REG)


@pytest.mark.parametrize("reg", [0.0, -1.0, float("nan"), float("inf")])
def test_regularisation_must_be_positive_and_finite(images: Tensor, reg: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"zca must be positive( and finite)?, got {reg}"):
        load_or_fit_zca(images, reg, tmp_path)


@pytest.mark.parametrize("reg", [1e300, 1.1e6])
def test_regularisation_that_loses_the_images_is_refused(images: Tensor, reg: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="zca must be at most 1e"):
        load_or_fit_zca(images, reg, tmp_path)


def test_cache_is_hit_by_the_same_images_and_regularisation_only(
    images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = load_or_fit_zca(images, REG, tmp_path)
    other = images.clone()
    other[-1, -1, -1, -1] += 1
    for different in ((other, REG), (images, 2 * REG), (images.view(200, 4, 2, 3), REG)):
        load_or_fit_zca(*different, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4  # and no unfinished file or folder
    monkeypatch.setattr(zca_file, "fit_zca", None)
    read = load_or_fit_zca(images.clone(), REG, tmp_path)
    assert read.reg == fitted.reg
    assert torch.equal(read.whitening, fitted.whitening)
    assert torch.equal(read.colouring, fitted.colouring)
    assert (read.mean, read.norm) == (fitted.mean, fitted.norm)


@pytest.mark.parametrize("size", [0, 7, 1000])
def test_damaged_cache_file_is_replaced(images: Tensor, size: int, tmp_path: Path) -> None:
    fitted = load_or_fit_zca(images, REG, tmp_path)
    (file,) = tmp_path.iterdir()
    intact = file.read_bytes()
    os.truncate(file, size)
    assert torch.equal(load_or_fit_zca(images, REG, tmp_path).whitening, fitted.whitening)
    assert file.read_bytes() == intact


def test_cache_that_cannot_be_written_is_a_user_error(images: Tensor, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written \(Not a directory\): set XDG_CACHE_HOME"):
        load_or_fit_zca(images, REG, tmp_path / "file" / "rtp")


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def _other_tensors(path: Path) -> None:
    stored = load_file(path)
    save_file({name: torch.zeros_like(tensor) for name, tensor in stored.items()}, path)


def _other_tensors_with_a_digest(path: Path) -> None:
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    stored = load_file(path)
    stored["eigenvalues"] = stored["eigenvalues"] * float("nan")
    save_file(stored, path, metadata)


def _other_shapes(path: Path) -> None:
    save_file({name: torch.zeros(3, dtype=torch.float64) for name in load_file(path)}, path)


def _other_types(path: Path) -> None:
    save_file({name: tensor.float() for name, tensor in load_file(path).items()}, path)


@pytest.mark.parametrize(
    "damage", [_flip_a_bit, _other_tensors, _other_tensors_with_a_digest, _other_shapes, _other_types]
)
def test_a_cache_that_is_not_what_was_written_is_computed_again(
    images: Tensor, tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    expected = load_or_fit_zca(images, 0.1, tmp_path)
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    damage(path)
    again = load_or_fit_zca(images, 0.1, tmp_path)
    assert torch.equal(again.eigenvectors, expected.eigenvectors)
    assert torch.equal(again.eigenvalues, expected.eigenvalues)
    assert path.read_bytes() == good
    assert "is not as it was written and is computed again" in caplog.text


def test_images_too_large_for_zca_are_refused() -> None:
    message = r"ZCA of images of 150,528 values needs matrices of .* \(181 GB each\): use images of at most 16,384"
    with pytest.raises(DataError, match=message):
        fit_zca(torch.zeros(2, 3, 224, 224), 0.1)
