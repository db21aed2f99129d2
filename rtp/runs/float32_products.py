"""How a device multiplies float32 numbers: a setting of the whole process, for matrix products and convolutions.

torch's own defaults are two: on a GPU, convolutions round their factors to TF32 (10 bits of mantissa for 23, Ampere and
later) and matrix products do not.
"""

from typing import Any

import torch

from rtp.errors import UserError


def allow_tf32(matrix_products: bool, convolutions: bool) -> None:
    """Say which of a GPU's operations may round float32 factors to TF32.

    Written so that torch's older names (`allow_tf32`, `get_float32_matmul_precision`), which Lightning and
    torch.compile read, and its newer ones (`fp32_precision`) agree, whatever was set before: where they do not, torch
    raises an error at a reading.
    """
    torch.set_float32_matmul_precision("high" if matrix_products else "highest")  # sets both names
    cudnn: Any = torch.backends.cudnn
    cudnn.allow_tf32 = convolutions  # leaves what cuDNN inherits from `torch.backends.fp32_precision`
    cudnn.conv.fp32_precision = cudnn.rnn.fp32_precision = "tf32" if convolutions else "ieee"


TF32 = (
    "Let a GPU round float32 factors of matrix products and convolutions to TF32 (10 bits of mantissa) everywhere in "
    "the process: the inner loop, retraining, baselines. Faster on Ampere and later."
)
"""Help of `--tf32`."""


def use_tf32(asked: bool, device: torch.device, trains: bool) -> None:
    """Let a run on a device use TF32 in all products, or in none.

    Raises:
        UserError: If it trains on a device that has no TF32. A test measures there what was trained elsewhere.
    """
    if asked and trains and device.type != "cuda":
        raise UserError(f"tf32 needs a CUDA GPU, and this run is on {device.type}: leave it out")
    allow_tf32(asked, asked)


def float32_products(device: torch.device) -> dict[str, str]:
    """What a device rounds the factors of float32 products to, "ieee" for nothing, as `test.json` records it."""
    on_gpu = device.type == "cuda"
    cpu, gpu = torch.backends.mkldnn, torch.backends
    matrix = (gpu.cuda if on_gpu else cpu).matmul.fp32_precision
    convolutions = (gpu.cudnn if on_gpu else cpu).conv.fp32_precision
    found = {"matrix_products": matrix, "convolutions": convolutions}
    return {name: "ieee" if value == "none" else value for name, value in found.items()}
