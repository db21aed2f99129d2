"""Section 5.3 from the command line: fit, resume, test, export, load, on Digits."""

import json
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import rtp
from rtp.cli import RtpCLI, main
from rtp.cli.commands.export import export
from rtp.cli.commands.info import info
from rtp.datamodules import Digits
from rtp.errors import UserError

CONF = Path(__file__).parents[1] / "conf"
TASKS, IMAGES = CONF / "tasks.yaml", CONF / "image_addressing.yaml"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fit(config: Path, run: str, *options: str) -> RtpCLI:
    return main(["fit", "--config", str(config), "--run_dir", run, "--trainer.enable_progress_bar", "false", *options])


@pytest.fixture(scope="module", params=[TASKS, IMAGES], ids=["tasks", "images"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / request.param.stem
    fit(request.param, str(run))
    return run


def test_a_run_leaves_curves_and_pictures(finished: Path) -> None:
    assert {"best.ckpt", "last.ckpt", "recalled.png", "bases.png", "similarity.png"} <= {
        file.name for file in finished.iterdir()
    }
    scalars = EventAccumulator(str(finished)).Reload().Tags()["scalars"]
    assert {"train/outer_loss", "val/accuracy", "val/accuracy_std", "memory/storage_floats"} <= set(scalars)


def test_all_that_is_learned_goes_on_being_learned_after_a_validation(finished: Path) -> None:
    config = CONF / f"{finished.name}.yaml"
    validated = fit(config, "run", "--trainer.val_check_interval", "1").model.memory
    assert all(parameter.requires_grad for parameter in validated.parameters())
    last = torch.load(finished / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(last[f"memory.{name}"], tensor) for name, tensor in validated.state_dict().items())


def test_a_run_that_is_continued_ends_bit_for_bit_as_one_that_was_not(finished: Path) -> None:
    config, steps = CONF / f"{finished.name}.yaml", 4 if finished.name == "image_addressing" else 6
    whole = torch.load(finished / "last.ckpt", weights_only=True)
    assert whole["global_step"] == steps
    fit(config, "run", "--trainer.max_steps", "3", "--checkpoint.every_n_steps", "3", "--trainer.val_check_interval=3")
    fit(config, "run", "--ckpt_path", "last")
    again = torch.load("run/last.ckpt", weights_only=True)
    assert again["global_step"] == steps
    assert all(torch.equal(again["state_dict"][name], tensor) for name, tensor in whole["state_dict"].items())


def test_tasks_are_tested_with_their_upper_bound(capsys: pytest.CaptureFixture[str]) -> None:
    fit(TASKS, "run")
    result = main(["test", "--ckpt_path", "run/last.ckpt", "--evaluation.baselines", "true"])
    rows = json.loads(Path("run/test.json").read_text())["results"]
    assert [(row["training_set"], row["networks"]) for row in rows] == [
        ("3-way recalled", 3),
        ("3-way all real", 2),
        ("2-way recalled", 3),
        ("2-way all real", 2),
    ]
    export(["run/last.ckpt", "tasks.safetensors"])
    memory = rtp.load("tasks.safetensors")
    assert memory.description.tasks == result.model.memory.tasks
    info(["tasks.safetensors"])
    assert f"test accuracy of 3-way recalled: {100 * rows[0]['accuracy_mean']:.2f} +- " in capsys.readouterr().out
    with pytest.raises(UserError, match=r"memory 1 of the checkpoint is of the classes \[5, 7\], not \[6, 9\]: leave"):
        main(["test", "--ckpt_path", "run/last.ckpt", "--model.task_seed", "5"])
    assert torch.equal(memory.recall(torch.tensor([7, 3])), result.model.memory.recall(torch.tensor([7, 3])))
    assert len(memory.dataset()) == 10 * memory.images_per_class
    main(["test", "--memory", "tasks.safetensors", "--run_dir", "stored"])
    stored = json.loads(Path("stored/test.json").read_text())
    assert stored["accuracies"] == rows[0]["accuracies"]
    with pytest.raises(UserError, match=r"kind 'tasks', which ImageAddressedDistillation cannot test: leave out --con"):
        main(["test", "--memory", "tasks.safetensors", "--config", str(IMAGES)])
    labels = str(CONF / "addressable.yaml")
    main(["test", "--memory", "tasks.safetensors", "--config", labels, "--run_dir", "all", "--evaluation.networks=1"])
    (row,) = json.loads(Path("all/test.json").read_text())["results"]  # one network for the classes of all tasks
    assert row["images"] == 10 * memory.images_per_class


def test_images_are_tested_with_both_baselines(capsys: pytest.CaptureFixture[str]) -> None:
    fit(IMAGES, "run")
    fit(CONF / "addressable.yaml", "labelled", "--trainer.max_steps", "2")
    export(["labelled/last.ckpt", "labelled.safetensors"])
    test = ["test", "--ckpt_path", "run/last.ckpt", "--evaluation.baselines", "true"]
    result = main([*test, "--model.few_shot.label_memory", "labelled.safetensors"])
    rows = json.loads(Path("run/test.json").read_text())["results"]
    assert [row["training_set"] for row in rows] == [
        f"3-way {shots}-shot {method}"
        for shots in (1, 5)
        for method in ("image addressing", "classify-then-recall", "nearest neighbour")
    ]
    assert rows[5]["accuracy_mean"] > rows[2]["accuracy_mean"] > 0.5  # 5 shots, 1 shot
    assert "3-way 5-shot classify-then-recall" in capsys.readouterr().out

    export(["run/last.ckpt", "images.safetensors"])
    memory, data = rtp.load("images.safetensors"), Digits()
    assert [accuracy.task for accuracy in memory.accuracies][-1:] == ["3-way 1-shot image addressing"]
    data.setup("test")
    raw = data.load("test")[0][:5]
    with torch.no_grad():
        expected = result.model.memory.recall_images(data.test_set[0][:5])
    assert torch.equal(memory.recall(images=raw), expected)
    assert memory.storage_floats == result.model.memory.storage_floats
    info(["images.safetensors"])
    assert "queries: 6 numbers that ConvNet(width=4, depth=1) makes of an image" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"this memory is addressed by images: recall\(images=...\)"):
        export(["images.safetensors", "images.pt", "--format", "pt"])
    with pytest.raises(UserError, match=r"images.safetensors is addressed by images: give a memory that is addressed"):
        main([*test, "--model.few_shot.label_memory", "images.safetensors"])
    for config, name in ((TASKS, "Task"), (CONF / "addressable.yaml", "Memory")):
        with pytest.raises(UserError, match=rf"the kind 'image', which {name}Distillation cannot test: leave"):
            main(["test", "--memory", "images.safetensors", "--config", str(config)])
    with pytest.raises(UserError, match=r"the kind 'addressable', which TaskDistillation cannot test: leave out --con"):
        main(["test", "--memory", "labelled.safetensors", "--config", str(TASKS)])
    main(["test", "--memory", "images.safetensors", "--run_dir", "stored"])
    assert json.loads(Path("stored/test.json").read_text())["accuracies"] == rows[0]["accuracies"]
    main(["predict", "--ckpt_path", "run/last.ckpt", "--run_dir", "predicted"])
    assert len(list(Path("predicted/recalled").iterdir())) == 10


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (TASKS, ["--model.extrapolation.ways", "[6]"], "ways is 6, but there are 5 class sets"),
        (TASKS, ["--model.classes_per_task", "3"], "classes_per_task is 3, but 10 classes .*: use one of 2, 5, 10"),
        (TASKS, ["--data.classes_per_step", "3"], "classes_per_step is 3, but a task has 2 classes"),
        (IMAGES, ["--model.few_shot.ways", "11"], "ways is 11, but there are 10 classes"),
        (IMAGES, ["--model.few_shot.shots", "[200]"], "200 shots do not fit: class . has 14 images"),
        (IMAGES, ["--model.few_shot", "null"], "a group of settings, such as model.few_shot .*, is null: leave the op"),
        (IMAGES, ["--evaluation.protocol.momentum", "-1"], r"momentum must lie in \[0, 1\), got -1"),
        (IMAGES, ["--evaluation.real_learning_rate", "0"], "learning_rate must be positive, got 0"),
        (IMAGES, ["--model.few_shot.shots", "[0, 5]"], r"few_shot.shots is \[0, 5\], but must hold"),
        (
            IMAGES,
            ["--data.classes_per_step", "1"],
            "classes_per_step is 1, .*: set it to 3, the ways of",
        ),
        (IMAGES, ["--model.shots", "[6]"], "6 shots leave no image of a class for the outer loss"),
        (IMAGES, ["--data.real_images_per_class", "500"], "fewer than real_images_per_class=500: set it to"),
        (IMAGES, ["--model.memory.query_dim", "0"], "query_dim must be at least 1, got 0"),
        (IMAGES, ["--model.memory.downsampling", "3"], "downsampling=3 does not divide the image of 8x8"),
    ],
)
def test_what_does_not_fit_is_one_line_before_training(config: Path, options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        fit(config, "run", *options)
    assert "\n" not in str(error.value)
