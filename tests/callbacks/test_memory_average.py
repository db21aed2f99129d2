"""The average over outer steps: what is validated, kept and exported."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from rtp.callbacks import MemoryAverage, RetrainingEvaluation
from rtp.cli import main
from rtp.errors import UserError
from rtp.modules import Distillation
from rtp.runs.checkpoints import LAST

CONFIG = Path(__file__).parents[1] / "conf" / "average.yaml"


def bases(module: L.LightningModule) -> Tensor:
    assert isinstance(module, Distillation)
    return module.memory.bases.detach().clone()


def test_validation_checkpoint_and_end_have_the_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trained: list[Tensor] = []
    validated: list[Tensor] = []
    evaluate = RetrainingEvaluation.on_validation_start

    def on_train_batch_end(self: L.Callback, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        trained.append(bases(module))

    def on_validation_start(self: RetrainingEvaluation, trainer: L.Trainer, module: L.LightningModule) -> None:
        validated.append(bases(module))
        evaluate(self, trainer, module)

    def on_validation_end(self: L.Callback, trainer: L.Trainer, module: L.LightningModule) -> None:
        validated.append(bases(module))

    for hook in (on_train_batch_end, on_validation_start, on_validation_end):
        monkeypatch.setattr(RetrainingEvaluation, hook.__name__, hook)
    cli = main(["fit", "--config", str(CONFIG), "--run_dir", "run", "--trainer.enable_progress_bar", "false"])
    one, two, three, four = trained
    # decay min(0.5, n / (n + 10)) with n = 1, 2, 3 averages so far; the first average is the memory itself
    second = one + (two - one) * (1 - 1 / 11)
    third = second + (three - second) * (1 - 2 / 12)
    fourth = third + (four - third) * (1 - 3 / 13)
    for measured, expected in zip(validated, (second, second, fourth, fourth), strict=True):
        torch.testing.assert_close(measured, expected)
    torch.testing.assert_close(bases(cli.model), fourth)
    checkpoint = torch.load(Path("run") / LAST, weights_only=True)
    torch.testing.assert_close(checkpoint["state_dict"]["memory._bases"], fourth)
    assert torch.equal(checkpoint["current_model_state"]["memory._bases"], four)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_out_of_its_range_is_refused(decay: float) -> None:
    with pytest.raises(UserError, match="decay"):
        MemoryAverage(decay)
