import os
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from rtp.datamodules import HuggingFace
from rtp.errors import DataError, UserError

ROOT = os.environ.get("RTP_DATA_DIR", "data")


@pytest.fixture(autouse=True)
def quiet() -> None:
    datasets.disable_progress_bars()


def png(pixels: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pixels(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(count).integers(256, size=(count, *shape), dtype=np.uint8)


def write_parquet(path: Path, images: np.ndarray, labels: list[Any], image: str = "image") -> None:
    """Images as structs of bytes and path, without the metadata of `datasets`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    structs = [{"bytes": png(array), "path": None} for array in images]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    pq.write_table(pa.table({image: pa.array(structs, kind), "label": labels}), path)


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """A folder of parquet files: 12 training and 3 test images with string labels."""
    write_parquet(tmp_path / "Shapes" / "train-00000-of-00001.parquet", pixels(12, 4, 6, 3), ["tri", "box", "orb"] * 4)
    write_parquet(tmp_path / "Shapes" / "test-00000-of-00001.parquet", pixels(3, 4, 6, 3), ["orb", "orb", "box"])
    return tmp_path


def test_folder_below_the_root_with_structs_and_string_labels(shapes: Path) -> None:
    data = HuggingFace("Shapes", root=str(shapes))
    assert (data.name, data.num_classes, data.image_shape) == ("shapes", 3, (3, 4, 6))
    assert data.class_names == ("box", "orb", "tri")
    data.prepare_data()
    images, labels = data.load("train")
    assert np.array_equal(images.numpy(), pixels(12, 4, 6, 3).transpose(0, 3, 1, 2))
    assert labels.tolist() == [2, 0, 1] * 4
    images, labels = data.load("test")
    assert np.array_equal(images.numpy(), pixels(3, 4, 6, 3).transpose(0, 3, 1, 2))
    assert labels.tolist() == [1, 1, 0]
    data.setup("test")


def test_columns_written_by_datasets_with_named_classes(tmp_path: Path) -> None:
    features = datasets.Features({"img": datasets.Image(), "fine": datasets.ClassLabel(names=["dog", "cat"])})
    images = pixels(6, 5, 5)
    rows = {"img": [Image.fromarray(image) for image in images], "fine": [0, 1, 1, 0, 1, 1]}
    (tmp_path / "pets").mkdir()
    for split in ("train", "test"):
        datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "pets" / f"{split}.parquet")
    data = HuggingFace(str(tmp_path / "pets"), image_column="img", label_column="fine")
    assert data.class_names == ("dog", "cat")  # in the order of the labels, not sorted
    read, labels = data.load("train")
    assert np.array_equal(read[:, 0].numpy(), images)  # grey images keep one channel
    assert labels.tolist() == [0, 1, 1, 0, 1, 1]


def test_data_files_other_names_and_number_labels(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", pixels(4, 4, 6, 3), [30, 7, 7, 30], image="picture")
    write_parquet(tmp_path / "b.parquet", pixels(2, 4, 6, 3), [7, 30], image="picture")
    data = HuggingFace(
        "parquet",
        data_files={"training": str(tmp_path / "a.parquet"), "validation": str(tmp_path / "b.parquet")},
        image_column="picture",
        train_split="training",
        test_split="validation",
        image_size=3,
    )
    assert (data.class_names, data.image_shape) == (("7", "30"), (3, 3, 3))
    assert data.load("train")[1].tolist() == [1, 0, 0, 1]
    images, labels = data.load("test")
    assert images.shape == (2, 3, 3, 3)
    assert labels.tolist() == [0, 1]


def test_missing_split_and_columns_list_what_there_is(shapes: Path) -> None:
    root = str(shapes)
    with pytest.raises(DataError, match="Shapes has no split 'dev', but train, test: set test_split"):
        HuggingFace("Shapes", test_split="dev", root=root).setup("test")
    with pytest.raises(DataError, match="Shapes has no column 'img', but image, label: set image_column"):
        _ = HuggingFace("Shapes", image_column="img", root=root).image_shape
    with pytest.raises(DataError, match="Shapes has no column 'y', but image, label: set label_column"):
        _ = HuggingFace("Shapes", label_column="y", root=root).num_classes


def test_column_without_images_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [1] * 6, "label": [0, 1] * 3}), tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"The column 'image' of .* holds Value\(.*int64.*\), not images"):
        _ = HuggingFace(str(tmp_path)).image_shape


def test_unknown_test_label_is_named(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", pixels(4, 4, 6, 3), ["a", "b", "a", "b"])
    write_parquet(tmp_path / "test.parquet", pixels(2, 4, 6, 3), ["a", "c"])
    with pytest.raises(DataError, match=r"The test split of .* labels that are no class of the training split: c"):
        HuggingFace(str(tmp_path)).setup("test")


def test_other_image_sizes_are_refused(tmp_path: Path) -> None:
    images = [*pixels(3, 4, 6, 3), *pixels(3, 5, 6, 3)]
    write_parquet(tmp_path / "train.parquet", images, ["a", "b"] * 3)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"Image \d of the train split of .* has 6x4 pixels, Image \d .* has 6x5: give"):
        HuggingFace(str(tmp_path)).setup("fit")


def test_no_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'nobody/nothing'\non the Hub")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    message = r"nobody/nothing cannot be read \(Couldn't reach 'nobody/nothing' on the Hub\): check the name"
    with pytest.raises(DataError, match=message):
        HuggingFace("nobody/nothing", root=str(tmp_path)).prepare_data()


def test_folder_without_data_and_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read \(.*\): check the name"):
        HuggingFace(str(tmp_path)).prepare_data()
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"cannot be read \(.*\): check the name"):
        HuggingFace(str(tmp_path)).prepare_data()


def test_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="pip install datasets"):
        HuggingFace("cifar10").prepare_data()


def test_image_size_out_of_range() -> None:
    with pytest.raises(UserError, match="image_size must be at least 1, got -1"):
        HuggingFace("cifar10", image_size=-1)


@pytest.mark.skipif(
    not Path(ROOT, "cifar10").is_dir(),
    reason=f"the real CIFAR-10 files are not in {ROOT}/cifar10 (RTP_DATA_DIR)",
)
def test_real_cifar10() -> None:
    files = {"train": str(Path(ROOT, "cifar10", "test-*.parquet").resolve())}  # the smaller one
    data = HuggingFace("parquet", data_files=files, image_column="img", test_split="train")
    images, labels = data.load("train")
    assert images.shape == (10_000, 3, 32, 32)
    assert labels.bincount().tolist() == [1000] * 10
    assert (data.class_names[0], data.class_names[9]) == ("airplane", "truck")
    # the means that are well known for the test set
    mean = images.double().mean((0, 2, 3)) / 255
    torch.testing.assert_close(mean, torch.tensor([0.4942, 0.4851, 0.4504], dtype=torch.float64), atol=1e-3, rtol=0)


def test_without_a_test_split_a_fixed_fifth_is_the_test_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "rtp")
    write_parquet(tmp_path / "train.parquet", pixels(20, 4, 6, 3), ["a", "b"] * 10)
    data = HuggingFace(str(tmp_path))
    (train, labels), (test, test_labels) = data.load("train"), data.load("test")
    assert (labels.bincount().tolist(), test_labels.bincount().tolist()) == ([8, 8], [2, 2])
    assert len(torch.unique(torch.cat([train, test]), dim=0)) == 20
    assert "has no split 'test': a fixed fifth of 'train' is the test set" in caplog.text


def test_parts_of_splits(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_parquet(folder / "train-00000-of-00001.parquet", pixels(20, 4, 6, 3), ["a", "b"] * 10)
    data = HuggingFace(
        str(folder), train_split="train[:60%]", validation_split="train[60%:80%]", test_split="train[80%:]"
    )
    data.setup("test")
    assert [len(part[1]) for part in (data.train_set, data.validation_set, data.test_set)] == [12, 4, 4]
    assert np.array_equal(data.load("test")[0].numpy(), pixels(20, 4, 6, 3).transpose(0, 3, 1, 2)[16:])
    with pytest.raises(DataError, match=r"cannot be read \(.*\): check the name"):
        HuggingFace(str(folder), test_split="train[eighty:]").load("test")
    with pytest.raises(DataError, match="has no split 'dev', but train: set validation_split to one of them"):
        HuggingFace(str(folder), validation_split="dev[:5]").load_validation()


def test_one_grey_first_row_leaves_the_others_their_colour(tmp_path: Path) -> None:
    images = [*pixels(1, 4, 6), *pixels(9, 4, 6, 3)]
    write_parquet(tmp_path / "train.parquet", images, ["a", "b"] * 5)  # type: ignore[arg-type]
    assert HuggingFace(str(tmp_path)).image_shape == (3, 4, 6)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", None, "b", "a"], "'label' of .* has None in row 1 of the train split, but each image needs one label"),
        ([0, 1, None, 1], "has None in row 2"),
        ([[0, 1], [1], [0], [1]], r"has \[0, 1\] in row 0"),
        ([0.5, 1.5, 0.5, 1.5], "has 0.5 in row 0"),
    ],
)
def test_rows_without_one_label_are_named(tmp_path: Path, labels: list[Any], message: str) -> None:
    write_parquet(tmp_path / "train.parquet", pixels(4, 4, 6, 3), labels)
    with pytest.raises(DataError, match=message):
        HuggingFace(str(tmp_path)).setup("fit")


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"image": [Image.fromarray(pixels(1, 5, 5)[0]), None], "label": [0, 1]}
    for split in ("train", "test"):
        datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / f"{split}.parquet")
    with pytest.raises(DataError, match=r"Image 1 of the train split of .* is missing \(null\)"):
        HuggingFace(str(tmp_path)).setup("fit")


def test_a_data_set_that_is_loaded_already() -> None:
    features = datasets.Features({"photo": datasets.Image(), "kind": datasets.ClassLabel(names=["a", "b"])})
    rows = {"photo": [Image.fromarray(image) for image in pixels(20, 5, 5)], "kind": [0, 1] * 10}
    dataset = datasets.Dataset.from_dict(rows, features=features)
    data = HuggingFace.of(dataset, image_size=4)
    data.setup("fit")
    assert (data.class_names, data.image_shape) == (("a", "b"), (1, 4, 4))
    with pytest.raises(DataError, match="has the columns kind, not one of images and one named label"):
        HuggingFace.of(dataset.remove_columns("photo"))


def loaded() -> datasets.Dataset:
    features = datasets.Features(photo=datasets.Image(), species=datasets.ClassLabel(names=["cat", "dog"]))
    rows = {"photo": [Image.new("RGB", (4, 4), (n, 0, 0)) for n in range(10)], "species": [0, 1] * 5}
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.mark.parametrize("kind", [None, "torch", "numpy"])
def test_formats_of_a_loaded_data_set_change_nothing(kind: str | None) -> None:
    images, labels = HuggingFace.of(loaded().with_format(kind)).load("train")
    assert images.shape == (8, 3, 4, 4)  # a fifth of ten is the test set
    assert torch.equal(images[:, 0, 0, 0] % 2, labels)


def test_a_transform_is_refused() -> None:
    with pytest.raises(DataError, match="has a transform, which would not be applied"):
        HuggingFace.of(loaded().with_transform(lambda row: row))


def test_a_streamed_data_set_is_refused() -> None:
    with pytest.raises(UserError, match="is streamed and has no length"):
        HuggingFace.of(loaded().to_iterable_dataset())


def test_a_class_too_small_for_three_parts_is_named(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", pixels(7, 4, 6, 3), ["a", "b", "a", "a", "a", "b", "a"])
    with pytest.raises(DataError, match=r"the split 'train' of .* holds 2 images of class 'b', but training, valid"):
        HuggingFace(str(tmp_path)).setup("fit")
