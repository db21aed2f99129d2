"""Files that somebody damaged or made: whatever is in them, they load as a memory or are refused in a line."""

import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rtp
import rtp.artefact
from rtp.artefact.files import KEY
from rtp.cli.commands.info import _of_memory as described
from rtp.errors import DataError, UserError

quick = settings(
    deadline=None, derandomize=True, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# JSON of any kind, with the numbers and names on which readers stumble
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-2, 9)
    | st.sampled_from(
        [2**31, 2**53, 2**64, -(2**63), 10**30, 1e308, 0.1, "pixel", "image", "MLP", "int8", "float16", "", "\0"]
    )
    | st.text(max_size=5)
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner), max_leaves=8
)


@pytest.fixture(
    params=[("addressable", None), ("pixel", 0.1), ("image", None), ("tasks", None), ("stream", None)],
    ids=["addressable", "pixel_zca", "image", "tasks", "stream"],
)
def content(request: pytest.FixtureRequest, tmp_path: Path, make_memory: Any) -> bytes:
    kind, zca = request.param
    path = tmp_path / "memory.safetensors"
    made = {"streaming": True} if kind == "stream" else {"kind": kind}
    make_memory(**made, zca=zca, image_shape=(1, 4, 4)).stored_as("int8").save(path)
    return path.read_bytes()


def loads_or_is_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.safetensors"
        path.write_bytes(content)
        refusal, memory = "", None
        try:
            memory = rtp.load(path)
        except DataError as error:
            refusal = str(error)
        assert "\n" not in refusal
        assert len(refusal) < 400
        if memory is not None:  # the change was harmless: everything works
            raw = torch.zeros(1, *memory.image_shape, dtype=torch.uint8)
            memory.preprocess(raw)
            if memory.description.kind == "image":
                recalled_or_refused(memory, raw)
            else:
                assert memory.dataset().images.isfinite().all()
                memory.to_pixels(memory.dataset().images)
            for number in range(len(memory.tasks)):
                assert memory.task(number).dataset().images.isfinite().all()
            repr(memory)
            list(described(memory))
        assert list(Path(folder).iterdir()) == [path]


def recalled_or_refused(memory: rtp.artefact.DistilledMemory, raw: torch.Tensor) -> None:
    refusal = ""
    try:
        images = memory.recall(images=raw)
        assert images.isfinite().all()
        memory.to_pixels(images.flatten(0, 1))
    except UserError as error:  # how large the numbers become is known when an image is there
        refusal = str(error)
    assert not refusal or "are not finite" in refusal


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: Any, rest: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


@quick
@given(st.data())
def test_truncated(content: bytes, data: st.DataObject) -> None:
    loads_or_is_refused(content[: data.draw(st.integers(0, len(content) - 1))])


@quick
@given(st.data())
def test_flipped_bits(content: bytes, data: st.DataObject) -> None:
    damaged = bytearray(content)
    for bit in data.draw(st.lists(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=9)):
        damaged[bit // 8] ^= 1 << bit % 8
    loads_or_is_refused(bytes(damaged))


@quick
@given(st.binary(max_size=300))
def test_noise(content: bytes, noise: bytes) -> None:
    loads_or_is_refused(noise)
    loads_or_is_refused(content[:8] + noise + content[8 + len(noise) :])


@quick
@given(st.data())
def test_another_description(content: bytes, data: st.DataObject) -> None:
    header, rest = split(content)
    description = json.loads(header["__metadata__"][KEY])
    for name in data.draw(st.lists(st.sampled_from(sorted(description)), min_size=1, max_size=3)):
        part = description[name]
        inside = isinstance(part, dict) and part and data.draw(st.booleans())
        target, key = (part, data.draw(st.sampled_from(sorted(part)))) if inside else (description, name)
        target[key] = data.draw(values)
    header["__metadata__"][KEY] = json.dumps(description)
    loads_or_is_refused(joined(header, rest))


@quick
@given(st.data())
def test_another_header(content: bytes, data: st.DataObject) -> None:
    header, rest = split(content)
    name = data.draw(st.sampled_from(sorted(header)))
    entry = header[name]
    if data.draw(st.booleans()):
        entry[data.draw(st.sampled_from(sorted(entry)))] = data.draw(values)
    else:
        header[name] = data.draw(values)
    loads_or_is_refused(joined(header, rest))
