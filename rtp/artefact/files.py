"""Reading and writing an artefact; whoever made the file, no code in it can run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from rtp.artefact.layout import Description, from_json, to_json
from rtp.artefact.tensors import Specs, check_specs, memory_specs, normalisation_specs, specs_of
from rtp.errors import DataError, UserError
from rtp.modules.memories.number_formats import SCALE_TYPE
from rtp.utils.files import new_file

MAX_FILE = 2**30
"""Bytes of a file: ZCA of 64x64 colour pixels takes 604 MB."""
MAX_HEADER = 2**24
"""Bytes of the header, which holds the class names and the configuration: 50 times 1,000 names of 300 letters."""
KEY = "rtp"
"""Where the header's metadata hold the description."""
TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I8": torch.int8,
    "U8": torch.uint8,
}
"""The types that occur, by safetensors' names."""


def read(path: Path) -> tuple[Description, dict[str, Tensor]]:
    """Open a memory file. No code in it can run: a safetensors file is numbers and JSON, and both are checked.

    Returns:
        Its description, and tensors of exactly the names, types and shapes that follow from it.

    Raises:
        DataError: If the file is missing, damaged, too large or inconsistent; in one line.
    """
    content = _content(path)
    with naming(path):
        header = _header(content)
        metadata = header.pop("__metadata__", None)
        text = metadata.get(KEY) if isinstance(metadata, dict) else None
        if not isinstance(text, str):
            raise DataError("it is a safetensors file, but no memory of rtp")
        description = from_json(text)
        claimed = _claimed_specs(header)
        num_bases = claimed["bases"][1][:1] if "bases" in claimed else ()
        # files of before 2026-11-27 have scales in float32
        scales = {dtype for name, (dtype, _) in claimed.items() if name.endswith(".scale")}
        scale_type = torch.float32 if torch.float32 in scales else SCALE_TYPE
        specs = memory_specs(description, (num_bases or (0,))[0], scale_type) | normalisation_specs(description)
        check_specs(specs, claimed)
        try:
            tensors = load_tensors(content)
        except (SafetensorError, ValueError, RuntimeError) as error:
            raise DataError(f"its tensors cannot be read ({type(error).__name__})") from error
        check_specs(specs, specs_of(tensors))  # JSON may list a tensor twice
        return description, tensors


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name in front of the message of a DataError."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{str(path)!r} cannot be used: {error}") from None


def write(path: Path, description: Description, tensors: dict[str, Tensor], overwrite: bool) -> None:
    """Write a memory file atomically; the description determines the tensors' names, types and shapes.

    Raises:
        UserError: If there is a file already and no `overwrite`, it cannot be written, or `read` would refuse its size.
    """
    content = save_tensors(tensors, {KEY: to_json(description)})
    if len(content) > MAX_FILE or int.from_bytes(content[:8], "little") > MAX_HEADER:
        raise UserError(f"the file would have {len(content):,} bytes: ZCA takes 4 (C H W)^2 of them, try without it")
    with new_file(path, overwrite) as file:
        file.write(content)


def _content(path: Path) -> bytes:
    content = None
    try:
        if path.is_file():
            with path.open("rb") as file:
                content = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        raise DataError(f"{str(path)!r} cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if content is None:
        what = "is a folder" if path.is_dir() else "is no file"
        raise DataError(f"{str(path)!r} {what}: give the path of a file that `rtp export` wrote")
    if len(content) > MAX_FILE:
        raise DataError(f"{str(path)!r} has more than {MAX_FILE:,} bytes, which no memory takes")
    return content


def _header(content: bytes) -> dict[str, Any]:
    """The header: its length in 8 bytes, little end first, then JSON."""
    if content.startswith(b"PK\3\4"):  # what torch.save writes
        raise DataError(
            "it is a checkpoint or .pt file: `rtp export CHECKPOINT MEMORY.safetensors` writes what is read"
        )
    length = int.from_bytes(content[:8], "little")
    if not 2 <= length <= len(content) - 8:
        raise DataError("it is truncated or no safetensors file")
    if length > MAX_HEADER:
        raise DataError(f"its header has {length:,} bytes, more than {MAX_HEADER:,}")
    try:
        header = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise DataError("it is damaged or no safetensors file")
    return header


def _claimed_specs(header: dict[str, Any]) -> Specs:
    """Types and shapes of the tensors, according to the header."""
    specs: Specs = {}
    for name, entry in header.items():
        match entry:
            case {"dtype": str(dtype), "shape": list(shape)} if dtype in TYPES and all(
                type(size) is int and size >= 0 for size in shape
            ):
                specs[name] = (TYPES[dtype], tuple(shape))
            case _:
                raise DataError(f"its tensor {ascii(name)[:40]} has no known type and shape")
    return specs
