import torch

from rtp.datamodules.normalisation.base import fit_standardisation


def test_statistics_by_hand() -> None:
    # channel 0: two 0 and two 255, mean 1/2, variance 1/4; channel 1: one value only
    images = torch.tensor([[[[0, 255]], [[51, 51]]], [[[255, 0]], [[51, 51]]]], dtype=torch.uint8)
    standardisation = fit_standardisation(images)
    torch.testing.assert_close(standardisation.mean, torch.tensor([0.5, 0.2], dtype=torch.float64))
    torch.testing.assert_close(standardisation.std, torch.tensor([0.5, 1.0], dtype=torch.float64))
    applied = standardisation.apply(images.double() / 255)
    expected = torch.tensor([[[[-1.0, 1]], [[0, 0]]], [[[1, -1]], [[0, 0]]]], dtype=torch.float64)
    torch.testing.assert_close(applied, expected)


def test_statistics_agree_with_torch() -> None:
    images = torch.randint(256, (50, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    standardisation = fit_standardisation(images)
    std, mean = torch.std_mean(images.double() / 255, dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(standardisation.mean, mean)
    torch.testing.assert_close(standardisation.std, std)


def test_standardised_images_have_mean_0_and_std_1_and_come_back() -> None:
    images = torch.randint(256, (50, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    standardisation = fit_standardisation(images)
    applied = standardisation.apply(images.float() / 255)
    assert applied.dtype == torch.float32
    std, mean = torch.std_mean(applied, dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(std, torch.ones(3))
    torch.testing.assert_close(standardisation.invert(applied), images.float() / 255)
