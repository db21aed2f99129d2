"""Errors of the device itself, after which nothing computes on it any more."""

import torch

SAID = ("CUDA error", "CUDA driver error", "cuDNN error", "CUBLAS_STATUS")
"""Beginnings of messages from CUDA and its libraries, where torch has no class of its own for them."""


def is_device_fault(error: BaseException) -> bool:
    """Whether a fault of the device is an error or its cause, such as an illegal access of its memory.

    CUDA reports it again at every later call of the process, so another way to compute the same cannot help. Too little
    memory is none.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    if any(isinstance(part, torch.OutOfMemoryError) for part in chain):
        return False
    return any(isinstance(part, torch.AcceleratorError) or str(part).startswith(SAID) for part in chain)
