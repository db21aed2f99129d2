"""Normalisation of pixels and its inverse, independent of Lightning."""

from rtp.datamodules.normalisation.base import Normalisation, Standardisation, fit_standardisation, normalised
from rtp.datamodules.normalisation.zca import ZCA, check_regularisation, fit_zca, load_or_fit_zca

__all__ = [
    "ZCA",
    "Normalisation",
    "Standardisation",
    "check_regularisation",
    "fit_standardisation",
    "fit_zca",
    "load_or_fit_zca",
    "normalised",
]
