"""The command line, run in process as a user would: fit, test, predict, resume, and what it refuses."""

import copy
import json
import math
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rtp.cli import app as cli
from rtp.cli import main
from rtp.errors import DataError, DivergenceError, UserError
from rtp.modules import HigherUnroll
from rtp.runs.trainer import quiet_lightning

CONF = Path(__file__).parents[1] / "conf"
CONFIG = CONF / "addressable.yaml"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fit(run: str, *options: str, config: Path = CONFIG) -> cli.RtpCLI:
    return main(["fit", "--config", str(config), "--run_dir", run, "--trainer.enable_progress_bar", "false", *options])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was fitted and tested."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    fit(str(run))
    main(["test", "--ckpt_path", str(run / "best.ckpt"), "--evaluation.baselines", "true"])
    return run


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_tiny_configuration_trains_the_memory(path: Path) -> None:
    result = fit("run", config=path)
    assert result.trainer.global_step == result.trainer.max_steps
    fresh = fit("other", "--trainer.max_steps", "0", config=path)
    trained, untrained = result.model.memory.state_dict(), fresh.model.memory.state_dict()
    # the bias of a feature network's convolution is taken away by the InstanceNorm behind it
    learned = [name for name in untrained if name != "feature_network.features.0.0.bias"]
    assert all(not torch.equal(trained[name], untrained[name]) for name in learned)
    assert {"best.ckpt", "last.ckpt", "config.yaml", "recalled.png"} <= {file.name for file in Path("run").iterdir()}


def test_a_run_that_no_longer_improves_says_that_it_stops(capsys: pytest.CaptureFixture[str]) -> None:
    stop = {"monitor": "val/accuracy", "mode": "max", "min_delta": 1.0, "patience": 1}
    rule = {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": stop}
    options = ["--trainer.callbacks", json.dumps([rule]), "--trainer.val_check_interval", "1"]
    result = fit("run", *options, "--trainer.max_steps", "100")
    assert result.trainer.global_step == 2
    printed = capsys.readouterr().out
    assert "stopped after 2 steps: Monitored metric val/accuracy did not improve in the last 1 records" in printed
    # a test needs no such rule: Lightning's warning would be an error here
    main(["test", "--ckpt_path", "run/best.ckpt", "--evaluation.networks", "1"])


def test_a_run_leaves_checkpoints_pictures_curves_and_its_configuration(finished: Path) -> None:
    names = {file.name for file in finished.iterdir()}
    pictures = {"recalled.png", "bases.png", "similarity.png"}
    assert {"best.ckpt", "last.ckpt", "config.yaml", "test.json"} | pictures <= names
    saved = yaml.safe_load((finished / "config.yaml").read_text())
    assert saved["model"]["init_args"]["unroll"]["init_args"]["num_steps"] == 2
    assert saved["seed_everything"] == 0


def test_tensorboard_has_the_curves_the_pictures_and_the_hyper_parameters(finished: Path) -> None:
    events = EventAccumulator(str(finished)).Reload()
    tags = events.Tags()
    assert {
        "train/outer_loss",
        "train/gradient_norm",
        "train/steps_per_second",
        "memory/storage_floats",
        "memory/storage_percent",
        "val/accuracy",
        "val/accuracy_std",
    } <= set(tags["scalars"])
    assert {"memory/recalled", "memory/bases", "memory/similarity"} <= set(tags["images"])
    # Lightning counts steps from 0
    assert [event.step for event in events.Scalars("train/outer_loss")] == [0, 1, 2, 3]
    assert [event.step for event in events.Scalars("val/accuracy")] == [1, 3]
    assert events.Scalars("memory/storage_floats")[0].value == 8 * 16 + 6 * 10 * 8  # 8 bases, r = 6
    assert events.Scalars("memory/storage_percent")[0].value == pytest.approx(100 * 608 / (1438 * 64), rel=1e-3)
    assert "_hparams_/session_start_info" in events.summary_metadata
    test = EventAccumulator(str(finished / "test")).Reload()
    assert len(test.Scalars("test/accuracy")) == 1
    assert "_hparams_/session_start_info" in test.summary_metadata


def test_test_json_has_the_documented_entries(finished: Path) -> None:
    content = json.loads((finished / "test.json").read_text())
    assert content["dataset"] == "digits"
    assert content["split"] == "test"
    assert content["architecture"] == "ConvNet"
    assert content["networks"] == 2
    assert content["epochs"] == 2
    assert content["storage_floats"] == 608
    assert content["steps"] in (2, 4)
    assert 0 < content["accuracy_mean"] < 1
    assert content["accuracy_std"] >= 0
    assert [row["training_set"] for row in content["results"]] == [
        *("distilled", "random real", "herding", "class means", "all real")
    ]
    assert content["storage_bytes"] == 4 * 608
    assert content["results"][1]["storage_floats"] == 640
    assert content["results"][4]["epochs"] == 1
    assert content["float32_products"] == {"matrix_products": "ieee", "convolutions": "ieee"}


def test_test_needs_no_configuration_but_takes_options(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--evaluation.networks", "1", "--evaluation.architectures", "[ConvNet, MLP]"]
    result = main(["test", "--ckpt_path", str(finished / "last.ckpt"), "--run_dir", "elsewhere", *options])
    assert result.model.unroll == HigherUnroll(2)
    assert result.model.trained_steps == 4
    rows = json.loads(Path("elsewhere/test.json").read_text())["results"]
    assert [(row["architecture"], row["networks"]) for row in rows] == [("ConvNet", 1), ("MLP", 1)]
    printed = capsys.readouterr().out
    assert "accuracy (%)" in printed
    assert "elsewhere/test.json" in printed


def test_validate_measures_the_validation_split(finished: Path) -> None:
    result = main(["validate", "--ckpt_path", str(finished / "best.ckpt")])
    assert 0 < float(result.trainer.callback_metrics["val/accuracy"]) < 1


def test_predict_writes_the_recalled_images_of_every_class(finished: Path) -> None:
    main(["predict", "--ckpt_path", str(finished / "best.ckpt"), "--run_dir", "predicted"])
    assert sorted(file.name for file in Path("predicted/recalled").iterdir()) == [f"{n:03d}.png" for n in range(10)]


def test_a_program_s_trainer_that_rounds_is_refused() -> None:
    cli = fit("run", "--trainer.max_steps", "0")
    trainer = L.Trainer(
        max_steps=1, precision="bf16-mixed", accelerator="cpu", logger=False, enable_checkpointing=False
    )
    with quiet_lightning(), pytest.raises(UserError, match=r"^trainer.precision is bf16-mixed"):
        trainer.fit(cli.model, datamodule=cli.datamodule)


def test_deterministic_algorithms_train_the_same_memory() -> None:
    usual = fit("run").model.memory
    try:
        fixed = fit("other", "--trainer.deterministic", "true").model.memory
    finally:
        torch.use_deterministic_algorithms(False)
    for name, value in usual.state_dict().items():
        torch.testing.assert_close(fixed.state_dict()[name], value)


def test_the_same_seed_gives_the_same_memory_and_another_seed_another() -> None:
    first, again = fit("a").model.memory, fit("b").model.memory
    other = fit("c", "--seed_everything", "1").model.memory
    assert torch.equal(first.bases, again.bases)
    assert torch.equal(first.addressing, again.addressing)
    assert not torch.equal(first.bases, other.bases)


def test_evaluation_does_not_change_training() -> None:
    often, seldom = fit("a", "--trainer.val_check_interval", "1"), fit("b", "--trainer.val_check_interval", "4")
    assert torch.equal(often.model.memory.bases, seldom.model.memory.bases)


def test_a_run_goes_on_from_its_last_checkpoint() -> None:
    fit("run")
    options = ["--trainer.max_steps", "6", "--ckpt_path", "run/last.ckpt"]
    result = main(["fit", "--config", str(CONFIG), *options])
    assert result.trainer.global_step == 6
    assert result.trainer.log_dir == "run/"
    assert torch.load("run/last.ckpt", weights_only=True)["global_step"] == 6


def test_run_folders_are_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning.Trainer.fit", lambda *_, **__: None)
    first = main(["fit", "--config", str(CONFIG)])
    assert first.trainer.log_dir == "logs/addressable/0/"
    Path("logs/addressable/7").mkdir(parents=True)
    assert main(["fit", "--config", str(CONFIG)]).trainer.log_dir == "logs/addressable/8/"


# What is refused --------------------------------------------------------------------------------------------------

Change = Callable[[dict[str, Any]], None]


def changed(change: Change) -> Path:
    config = copy.deepcopy(yaml.safe_load(CONFIG.read_text()))
    change(config)
    path = Path("changed.yaml")
    path.write_text(yaml.safe_dump(config))
    return path


def init(config: dict[str, Any], *names: str) -> dict[str, Any]:
    part = config["model"]["init_args"]
    for name in names:
        part = part[name]["init_args"]
    return part


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["trainer"].update(max_stepss=3), r"'trainer.max_stepss'; --help lists the options"),
        (lambda c: init(c).update(slot_per_class=3), r"^model: Option 'slot_per_class' is not accepted by Memory"),
        (lambda c: init(c, "unroll").update(num_step=3), r"'num_step' is not .* HigherUnroll, which takes num_steps"),
        (lambda c: init(c, "network").update(widht=3), r"^model.network: Option 'widht' .* takes width, depth"),
        (lambda c: init(c)["network"].update(class_path="ConvNett"), r"^model.network: there is no class 'ConvNett'"),
        (lambda c: c["data"].update(class_path="CIFAR11"), r"^data: there is no class 'CIFAR11'; use one of rtp's"),
        (lambda c: c["data"].update(class_path="no.such.Data"), r"^data: No module named 'no'; install it, or run"),
        (lambda c: init(c).update(slots_per_class="many"), r"^model.slots_per_class: expected int, got many"),
        (lambda c: init(c).pop("unroll"), r"^model: the following arguments are required: unroll"),
        (lambda c: init(c, "memory").update(num_bases=1000), r"^num_bases=1000 does not fit .* num_bases <= 24 or"),
        (lambda c: init(c, "memory").update(downsampling=3), r"^downsampling=3 does not divide the image of 8x8"),
        (lambda c: init(c, "unroll").update(num_steps=0), r"^num_steps must be at least 1, got 0"),
        (lambda c: init(c).update(slots_per_class=0), r"^slots_per_class must be at least 1, got 0"),
        (lambda c: init(c, "network").update(depth=4), r"depth 4 halves the image 4 times"),
        (lambda c: c["evaluation"].update(networks=0), r"^networks must be at least 1, got 0"),
        (lambda c: c["checkpoint"].update(every_n_steps=0), r"^every_n_steps must be at least 1, got 0"),
        (
            lambda c: c["trainer"].update(precision="bf16-mixed"),
            r"^trainer.precision is bf16-mixed: .* unroll.pr",
        ),
        (lambda c: c["trainer"].update(precision=64), r"^trainer.precision is 64: leave it out"),
        (lambda c: c.update(tf32=True), r"^tf32 needs a CUDA GPU, and this run is on cpu: leave it out"),
        (
            lambda c: init(c).update(unroll={"class_path": "StepwiseUnroll", "init_args": {"precision": "tf32"}}),
            "precision: expected one of 'fp32', 'bf16', got tf32",
        ),
    ],
)
def test_an_unusable_configuration_is_one_line_before_anything_is_trained(change: Change, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        fit("run", config=changed(change))
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "--config", "nope.yaml"], "File does not exist: .*nope.yaml"),
        (["fit", "--data", "Digits"], "arguments are required: fit.model"),
        (["fitt"], "invalid choice: 'fitt'"),
        ([], 'expected "subcommand" to be one of'),
        (["fit", "--config", str(CONFIG), "--trainer.max_stepss", "3"], "unrecognized arguments: --trainer.max_steps"),
        *(
            (
                ["fit", "--config", str(CONFIG), f"--{option}={given}"],
                rf"^{option}: there is no class '{given}'; .*{meant}",
            )
            for option, given, meant in [
                ("model.memory", "Addressable", "did you mean AddressableMemory"),
                ("model.unroll", "Stepwise", "did you mean StepwiseUnroll"),
                ("model.augmentation", "Flip", "did you mean FlipOrRotate"),
                ("model.optimizer", "adam", "did you mean torch.optim.Adam"),
                ("model.lr_scheduler", "CosineAnealing", "did you mean torch.optim.lr_scheduler.CosineAnnealing"),
                ("trainer.callbacks", "EarlyStoping", "did you mean lightning.pytorch.callbacks.EarlyStopping"),
                ("model.network", "Zzz", "use one of rtp's or"),
            ]
        ),
        (["fit", "--config", str(CONFIG), "--model.unroll=no.yaml"], "^model.unroll: there is no file 'no.yaml'"),
        (
            ["fit", "--config", str(CONFIG), "--model.growth={a:1}"],
            "^model.growth: '{a:1}' is no class, no file and no",
        ),
        *(
            (["fit", "--config", str(CONFIG), f"--{option}=x"], rf"^{option}: expected {kind}, got x$")
            for option, kind in [
                ("trainer.max_steps", "int"),
                ("evaluation.protocol.epochs", "int"),
                ("model.unroll.num_steps", "int"),
                ("model.memory.num_bases", "int"),
                ("model.memory.learned_rate", "bool"),
                ("model.memory.init", "one of .*, 'data'"),
                ("model.network.width", "int"),
                ("model.optimizer.lr", "float"),
                ("data.classes_per_step", "int"),
            ]
        ),
        (["test", "--ckpt_path", "none.ckpt"], "there is no checkpoint 'none.ckpt'"),
        (["fit", "--config", str(CONFIG), "--ckpt_path", "none.ckpt"], "there is no checkpoint 'none.ckpt'"),
    ],
)
def test_an_unusable_command_is_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        main(arguments)
    assert "\n" not in str(error.value)


def test_a_missing_data_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", no_network)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte"):
        fit("run", "--data", "MNIST", "--data.root", str(tmp_path))


def test_a_run_folder_that_exists_is_kept(finished: Path) -> None:
    before = {file.name: file.stat().st_mtime_ns for file in finished.iterdir()}
    with pytest.raises(UserError, match=r"the run folder .* exists: choose another --run_dir, or continue"):
        fit(str(finished))
    assert {file.name: file.stat().st_mtime_ns for file in finished.iterdir()} == before


def test_a_damaged_and_a_foreign_checkpoint_are_refused(finished: Path) -> None:
    Path("cut.ckpt").write_bytes((finished / "best.ckpt").read_bytes()[:1000])
    with pytest.raises(UserError, match=r"cut.ckpt is damaged or not a checkpoint"):
        main(["test", "--ckpt_path", "cut.ckpt"])
    torch.save({"state_dict": {}}, "foreign.ckpt")
    with pytest.raises(UserError, match=r"foreign.ckpt was not written by `rtp fit`"):
        main(["test", "--ckpt_path", "foreign.ckpt"])
    torch.save(torch.zeros(3), "tensor.ckpt")
    for name in ("cut.ckpt", "tensor.ckpt"):
        with pytest.raises(UserError, match=rf"{name} is (damaged or )?not a checkpoint"):
            fit("run", "--ckpt_path", name)


# What stops a run -------------------------------------------------------------------------------------------------


@pytest.fixture
def at_step_3(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[torch.Tensor], torch.Tensor]], None]:
    """Let something happen to the meta-loss of step 3 of 4."""

    def install(happen: Callable[[torch.Tensor], torch.Tensor]) -> None:
        original = HigherUnroll.meta_loss
        calls: list[None] = []

        def meta_loss(self: HigherUnroll, *arguments: Any) -> torch.Tensor:
            calls.append(None)
            loss = original(self, *arguments)
            return happen(loss) if len(calls) == 4 else loss

        monkeypatch.setattr(HigherUnroll, "meta_loss", meta_loss)

    return install


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(at_step_3: Any, bad: float) -> None:
    at_step_3(lambda loss: loss * bad)
    with pytest.raises(DivergenceError, match=rf"the outer loss is {bad} at step 3: training stops") as error:
        fit("run")
    assert error.value.exit_code == 1
    kept = torch.load("run/last.ckpt", weights_only=True)
    assert kept["global_step"] == 2
    assert all(tensor.isfinite().all() for tensor in kept["state_dict"].values())


def test_a_gradient_that_is_not_finite_stops(at_step_3: Any) -> None:
    # sqrt has an infinite slope at 0, and 0 * inf is nan
    at_step_3(lambda loss: loss + 0 * (loss - loss).sqrt())
    with pytest.raises(DivergenceError, match=r"the norm of the gradient is nan at step 3"):
        fit("run")


def test_ctrl_c_saves_a_checkpoint_and_exits_with_130(
    at_step_3: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(loss: torch.Tensor) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGINT)
        return loss

    at_step_3(interrupt)
    monkeypatch.setattr("sys.argv", ["rtp", "fit", "--config", str(CONFIG), "--run_dir", "run"])
    with pytest.raises(SystemExit) as stopped:
        cli.entry_point()
    assert stopped.value.code == 130
    assert torch.load("run/last.ckpt", weights_only=True)["global_step"] == 4
    assert "continue with --ckpt_path run/last.ckpt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trainer.val_check_interval=0.5"], "^trainer.val_check_interval is 0.5: give a number of outer steps"),
        (["--trainer.accelerator=gpu"], "^[^\\n]*gpu[^\\n]*$"),
        (["--trainer.accelerator=gpux"], "^[^\\n]*gpux[^\\n]*$"),
        (
            ["--trainer.enable_checkpointing=false"],
            "^trainer.enable_checkpointing is false, but best.ckpt is the result",
        ),
        (["--run_dir=file/run"], r"^the run folder file/run cannot be made \(Not a directory\): choose another place"),
        (["--run_dir="], "^run_dir is empty: give a folder, or leave it out"),
        (["--trainer.max_epochs=0"], "^trainer.max_epochs is 0"),
        (["--data.zca=1e300"], r"^zca must be at most 1e\+06, got 1e\+300"),
        (["--config=latin1.yaml"], "^a file is not UTF-8 text"),
        (["--config=deep.yaml"], "^[^\\n]*$"),
        (["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=no/such"], "^[^\\n]*no/such[^\\n]*$"),
        (
            ["--trainer.callbacks+=MemoryAverage"] * 2,
            r"^[^\n]*more than one stateful callback of type `MemoryAverage`[^\n]*$",
        ),
        (
            ["--trainer.callbacks+=TrainingSpeed"],
            r"^the run has TrainingSpeed twice: [^\n]*not where rtp adds it itself",
        ),
        (["--trainer.callbacks+=RetrainingEvaluation"], r"^the run has RetrainingEvaluation twice"),
    ],
)
def test_a_mistake_is_one_line(options: list[str], message: str) -> None:
    Path("file").touch()
    Path("latin1.yaml").write_bytes("trainer: {max_steps: 2} # \xe9".encode("latin1"))
    Path("deep.yaml").write_text("data: " + "[" * 3000)
    with pytest.raises(UserError, match=message):
        main(["fit", "--config", str(CONFIG), "--trainer.enable_progress_bar=false", *options])


def test_slurm_s_variables_without_its_launcher_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    with pytest.raises(UserError, match=r"^[^\n]*ntasks[^\n]*$"):
        main(["fit", "--config", str(CONFIG), "--run_dir", "run"])


def test_a_run_shorter_than_its_first_validation_has_a_best_memory(capsys: pytest.CaptureFixture[str]) -> None:
    fit("run", "--trainer.max_steps", "3", "--trainer.val_check_interval", "100")
    assert Path("run/best.ckpt").is_file()
    assert "the run is validated at its end: it is shorter than 100" in capsys.readouterr().out


def test_a_finished_run_has_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    fit("logs/addressable/demo-1")
    main(["fit", "--config", str(CONFIG), "--ckpt_path", "last"])
    assert "nothing to do: the run has all 4 steps; raise --trainer.max_steps" in capsys.readouterr().out


def test_a_run_that_its_time_ended_says_so_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    limits = ["--trainer.max_steps", "1000000", "--trainer.max_time", "00:00:00:01"]
    fit("run", *limits)
    assert re.search(r"stopped after \d+ steps: trainer.max_time is over", capsys.readouterr().out)
    main(["fit", "--config", str(CONFIG), "--ckpt_path", "run/last.ckpt", *limits])
    assert "nothing to do: trainer.max_time is over; to go on, give --ckpt_path last" in capsys.readouterr().out
    assert Path("run/best.ckpt").is_file()
    steps = torch.load("run/last.ckpt", weights_only=True)["global_step"]
    limits = ["--trainer.max_time", "null", "--trainer.max_steps", str(steps + 1)]
    with quiet_lightning():  # as the program's entry does
        main(["fit", "--config", str(CONFIG), "--ckpt_path", "run/last.ckpt", *limits])
    assert "max_time" not in capsys.readouterr().out
    assert torch.load("run/last.ckpt", weights_only=True)["global_step"] == steps + 1


def test_a_file_may_not_ask_for_unbounded_work() -> None:
    fit("run")
    checkpoint = torch.load("run/best.ckpt", weights_only=True)
    for name, most in (("epochs: 2", "epochs: 1000000000"), ("networks: 2", "networks: 10000000"),
                       ("width: 8", "width: 10000000")):  # fmt: skip
        assert name in checkpoint["rtp_config"]
        changed = checkpoint | {"rtp_config": checkpoint["rtp_config"].replace(name, most)}
        torch.save(changed, "run/changed.ckpt")
        with pytest.raises(UserError, match=r"the file asks for .* more than [\d,]+: give .* after --lift_limits"):
            main(["test", "--ckpt_path", "run/changed.ckpt"])
    # the user's own values count, once the limits are lifted
    changed = checkpoint | {"rtp_config": checkpoint["rtp_config"].replace("epochs: 2", "epochs: 1000000000")}
    torch.save(changed, "run/changed.ckpt")
    quick = ["--evaluation.protocol.epochs=1", "--trainer.enable_progress_bar=false"]
    main(["test", "--ckpt_path", "run/changed.ckpt", "--lift_limits", *quick])


def test_a_user_error_is_one_line_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["rtp", "test", "--ckpt_path", "none.ckpt"])
    with pytest.raises(SystemExit) as stopped:
        cli.entry_point()
    assert stopped.value.code == 2
    output = capsys.readouterr()
    assert output.err == "rtp: error: there is no checkpoint 'none.ckpt': give the path of a .ckpt file of a run\n"
    assert output.out == ""


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: rtp ")
    assert all(command in text for command in ("fit", "validate", "test", "predict"))
