"""The description: it comes back as it was, and nothing else is believed."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from rtp.artefact.layout import from_json, to_json
from rtp.errors import DataError


def test_a_description_comes_back_as_it_was(make_memory: Any) -> None:
    names = ("", "../x", "\ud800", "\x1b[31m", "naïve", "名" * 300)
    for description in (
        make_memory().description,
        make_memory(zca=0.1, class_names=names, accuracies=()).description,
        make_memory(kind="image").description,
        make_memory(kind="tasks").description,
        make_memory(streaming=True).description,
        make_memory(streaming=True).description.of_task(1),
    ):
        assert from_json(to_json(description)) == description
        assert to_json(description).isascii()


@pytest.mark.parametrize("name", ["zca_reg", "query", "tasks"])
def test_what_may_be_null_may_not_be_missing(make_memory: Any, name: str) -> None:
    content = json.loads(to_json(make_memory().description))
    assert content.pop(name) is None
    with pytest.raises(DataError, match=f"its description has no {name}"):
        from_json(json.dumps(content))


def test_a_file_of_no_stream_says_nothing_of_one(make_memory: Any) -> None:
    """So files of before there were any are read, and written again byte by byte."""
    assert "stream" not in json.loads(to_json(make_memory().description))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stream": None, "kind": "addressable"}, "kind 'addressable' does not go with its entries query and tasks"),
        ({"stream": {"kind": "permuted"}}, "its description has no source"),
        ({"stream": "permuted"}, "stream of its description is 'permuted', not an object"),
        ({"tasks": 1}, r"stream of 1 tasks does not go with its entries samples, steps and task"),
        ({"steps": [8]}, r"stream of 3 tasks does not go with its entries samples"),
        ({"samples": [35, 30, 35], "steps": [8, 6, 8]}, r"kind 'tasks' does not go with its entries stream and tasks"),
        ({"task": 1}, r"kind 'tasks' does not go with its entries stream and tasks"),
        ({"task": 3}, r"stream of 3 tasks does not go"),
        ({"seed": -1}, "seed of its description is -1, not a count"),
        ({"arguments": 3}, "arguments of its description is 3, not an object"),
    ],
)  # fmt: skip
def test_a_wrong_stream_is_named_in_a_line(make_memory: Any, changes: Any, message: str) -> None:
    content = json.loads(to_json(make_memory(streaming=True).description))
    content = content | changes if "stream" in changes else content | {"stream": content["stream"] | changes}
    with pytest.raises(DataError, match=message) as error:
        from_json(json.dumps(content))
    assert "\n" not in str(error.value)


def test_a_task_is_described_as_a_memory_of_its_own(make_memory: Any) -> None:
    whole = make_memory(streaming=True).description
    alone = whole.of_task(1)
    assert (alone.kind, alone.tasks, alone.class_names, alone.steps) == ("addressable", None, ("cat", "dog"), 6)
    assert alone.stream == replace(whole.stream, samples=(30,), steps=(6,), task=1)
    assert [(accuracy.mean, accuracy.task) for accuracy in alone.accuracies] == [(0.4, None)]
    taken_in_turn = make_memory(kind="tasks").description  # 7 steps of three tasks
    assert [taken_in_turn.of_task(number).steps for number in range(3)] == [3, 2, 2]
    assert taken_in_turn.of_task(1).class_names == ("../cow",)


def test_an_accuracy_may_be_of_tasks(make_memory: Any) -> None:
    description = make_memory().description
    of_tasks = replace(description, accuracies=(replace(description.accuracies[0], task="5-way recalled"),))
    assert from_json(to_json(of_tasks)) == of_tasks


def test_weight_decay_and_a_drop_of_the_rate_are_kept(make_memory: Any) -> None:
    description = make_memory().description
    decayed = replace(description, protocol=replace(description.protocol, weight_decay=5e-4, drop_after=0.5))
    assert from_json(to_json(decayed)) == decayed


QUERY = {"name": "ConvNet", "arguments": {"width": 3, "depth": 1}, "query_dim": 4}


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("image", {"query": None}, "kind 'image' does not go with its entries query and tasks"),
        ("addressable", {"query": QUERY}, "kind 'addressable' does not go with"),
        ("tasks", {"tasks": None}, "kind 'tasks' does not go with"),
        ("pixel", {"tasks": [[0], [1], [2]]}, "kind 'pixel' does not go with"),
        ("image", {"query": QUERY | {"name": "os.system"}}, "the feature network is 'os.system', not AlexNet or"),
        ("image", {"query": QUERY | {"arguments": {"width": 3}}}, "the arguments of ConvNet are not width, depth"),
        ("image", {"query": QUERY | {"arguments": {"width": 3, "depth": "1"}}}, "depth of its description is '1'"),
        ("image", {"query": QUERY | {"arguments": {"width": 0, "depth": 1}}}, "width of ConvNet is 0, not from 1 to"),
        ("image", {"query": QUERY | {"arguments": {"width": 3, "depth": 10**6}}}, "depth of ConvNet is 1000000, not"),
        ("image", {"query": QUERY | {"arguments": {"width": [3], "depth": 1}}}, "width of ConvNet is of another kind"),
        ("image", {"query": QUERY | {"query_dim": 0}}, "query_dim is 0, not from 1 to"),
        ("tasks", {"tasks": [[0], [1]]}, "the tasks do not split 3 classes into parts of one size"),
        ("tasks", {"tasks": [[0], [1, 2]]}, "the tasks do not split 3 classes"),
        ("tasks", {"tasks": [[0], [1], [1]]}, "the tasks do not split 3 classes"),
        ("tasks", {"tasks": [0, 1, 2]}, "not a list of lists of counts"),
    ],
)
def test_a_wrong_query_or_split_is_named_in_a_line(make_memory: Any, kind: str, changes: Any, message: str) -> None:
    content = json.loads(to_json(make_memory(kind=kind).description)) | changes
    with pytest.raises(DataError, match=message) as error:
        from_json(json.dumps(content))
    assert len(str(error.value)) < 200
    assert "\n" not in str(error.value)


def test_a_configuration_may_hold_what_json_has_no_word_for(make_memory: Any) -> None:
    config = {"model": {"init_args": {"eps": math.inf, "betas": (0.9, 0.999), 3: None}}}
    again = from_json(to_json(make_memory(config=config).description)).config
    assert again == {"model": {"init_args": {"eps": "inf", "betas": [0.9, 0.999], "3": None}}}


def without(name: str) -> Any:
    return lambda content: content.pop(name)


def changed(**changes: Any) -> Any:
    return lambda content: content.update(changes)


PROTOCOL = {"networks": 1, "epochs": 1, "batch_size": 1, "learning_rate": 1, "momentum": 0, "architecture": ""}
DECAYED = PROTOCOL | {"augmentation": None, "weight_decay": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("format"), "it is no memory of rtp"),
        (changed(format="other"), "it is no memory of rtp"),
        (changed(version=2), "it has version 2 of the format, and this rtp reads 1: use the rtp that wrote it"),
        (changed(version="1" * 99), "it has version '111"),
        (without("version"), "it has version None"),
        (without("kind"), "its description has no kind"),
        (changed(kind="pickle"), "kind of its description is 'pickle', not addressable or pixel"),
        (changed(kind=["pixel"]), r"kind of its description is \['pixel'\]"),
        (changed(stored_as="float64"), "not float32 or float16 or int8"),
        (changed(image_shape=[1, 8]), "image_shape has 2 entries"),
        (changed(image_shape=[2, 8, 8]), "not 1 or 3 channels"),
        (changed(image_shape=[3, 8, 2**40]), "16384 pixels a side"),
        (changed(image_shape=[3, 8, 8.0]), "not a list of counts"),
        (changed(image_shape=[3, 8, True]), "not a list of counts"),
        (changed(image_shape=8), "not a list of counts"),
        (changed(downsampling=3), "does not divide"),
        (changed(downsampling=0), "does not divide"),
        (changed(class_names=[]), "0 classes of 2 images recall nothing"),
        (changed(class_names=["a", 3]), "not a list of texts"),
        (changed(num_slots=0), "3 classes of 0 images recall nothing"),
        (changed(num_slots=-1), "num_slots of its description is -1, not a count"),
        (changed(num_slots=2**53), "not a count"),
        (changed(num_slots=2**30), "more than 1,073,741,824"),
        (changed(zca_reg=0), "zca_reg is 0.0, but must be positive"),
        (changed(zca_reg="big"), "not a finite number"),
        (changed(zca_reg=10**400), "not a finite number"),
        (without("zca_reg"), "has no zca_reg"),
        (changed(dataset=None), "not a text"),
        (changed(protocol=[]), "not an object"),
        (changed(protocol=PROTOCOL), "its description has no augmentation"),
        (changed(protocol=PROTOCOL | {"augmentation": None}), "its description has no weight_decay"),
        (changed(protocol=DECAYED | {"drop_after": "half"}), "drop_after of its description"),
        (changed(accuracies=[3]), "not a list of objects"),
        (changed(accuracies=[{"split": "train"}]), "not validation or test"),
        (changed(config="import os"), "not an object"),
    ],
)
def test_a_wrong_entry_is_named_in_a_line(make_memory: Any, change: Any, message: str) -> None:
    content = json.loads(to_json(make_memory().description))
    change(content)
    with pytest.raises(DataError, match=message) as error:
        from_json(json.dumps(content))
    assert len(str(error.value)) < 200
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": NaN}', "9" * 5000, "null", "[]", '"rtp.memory"'])
def test_what_is_no_description_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"its description is not JSON|it is no memory of rtp"):
        from_json(text)
