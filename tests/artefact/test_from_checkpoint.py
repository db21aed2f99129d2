"""What a file says about a run; files of whole runs are in tests/cli/commands/test_export.py."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from rtp.artefact import load
from rtp.artefact.from_checkpoint import from_state, query_network
from rtp.artefact.query_network import QueryNetwork
from rtp.cli import main
from rtp.cli.commands.export import load_memory
from rtp.datamodules import Digits
from rtp.errors import UserError
from rtp.evaluation.retraining import RetrainingEvaluator
from rtp.modules.networks import training

CONFIG = Path(__file__).parents[1] / "conf" / "addressable.yaml"


def test_a_feature_network_of_one_s_own_is_refused() -> None:
    memory = {"init_args": {"feature_network": {"class_path": "mine.Net", "init_args": {}}}}
    with pytest.raises(UserError, match=r"^the feature network is mine.Net: a file holds AlexNet or ConvNet or MLP or"):
        query_network(memory, torch.zeros(3, 6, 5))
    network: dict[str, Any] = {"class_path": "rtp.modules.MLP", "init_args": {"hidden_width": 3, "dropout": 0.0}}
    memory["init_args"]["feature_network"] = network
    assert query_network(memory, torch.zeros(3, 6, 5)) == QueryNetwork("MLP", {"hidden_width": 3, "depth": 1}, 6)
    network["init_args"]["dropout"] = 0.5
    with pytest.raises(UserError, match=r"^the feature network has dropout 0\.5: a file holds networks without"):
        query_network(memory, torch.zeros(3, 6, 5))


@pytest.mark.parametrize("rate", [torch.tensor(1000.0), torch.tensor(math.nan), torch.zeros(2)])
def test_a_learned_rate_that_is_no_number_is_refused(rate: torch.Tensor) -> None:
    state = {"_bases": torch.zeros(2, 1, 4, 4), "addressing": torch.zeros(3, 10, 2), "log_rate": rate}
    with pytest.raises(UserError, match=r"^a.ckpt is damaged: its learned rate is no finite number"):
        from_state(state, Digits(), {}, 0, None, source="a.ckpt")
    with pytest.raises(UserError, match=r"^learning_rate must be positive and finite, got inf"):
        training.TrainingProtocol(learning_rate=math.inf)


def test_a_learned_rate_is_the_protocol_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []

    def record(trainees: list[training.Trainee], protocol: training.TrainingProtocol, *others: object) -> object:
        rates.append(protocol.learning_rate)
        return training.train_networks(trainees, protocol, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(f"{RetrainingEvaluator.__module__}.train_networks", record)
    run = tmp_path / "run"
    bars = ["--trainer.enable_progress_bar=false"]
    rated = [
        "--model.memory.learned_rate=true",
        "--evaluation.baselines=true",
        "--evaluation.protocol.learning_rate=0.02",
        *bars,
    ]
    main(["fit", "--config", str(CONFIG), "--run_dir", str(run), *rated])
    factor = math.exp(torch.load(run / "best.ckpt", weights_only=True)["state_dict"]["memory.log_rate"])
    assert factor != pytest.approx(1, abs=1e-4)  # it has learned
    memory = load_memory(run / "best.ckpt", [])
    assert memory.protocol.learning_rate == pytest.approx(0.02 * factor)
    memory.save(tmp_path / "memory.safetensors")
    assert load(tmp_path / "memory.safetensors").protocol.learning_rate == pytest.approx(0.02 * factor)
    assert len(rates) == 2
    rates.clear()
    main(["test", "--ckpt_path", str(run / "best.ckpt"), *bars])
    assert rates[0] == pytest.approx(0.02 * factor)  # the distilled images
    assert set(rates[1:]) == {0.02}  # the baselines
    rates.clear()
    main(["test", "--memory", str(tmp_path / "memory.safetensors"), *bars])
    assert rates[0] == pytest.approx(0.02 * factor)
