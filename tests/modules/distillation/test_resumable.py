"""What a step draws follows from the run's seed and the step's place; what is loaded is checked."""

from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from rtp.errors import UserError
from rtp.modules.distillation.resumable import SEED_KEY, ResumableModule


class Drawing(ResumableModule):
    """Draws a number at each step."""

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(size))
        self.drawn: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.drawn.append(float(torch.rand(())))
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def run(module: Drawing, steps: int, tmp_path: Any, **arguments: Any) -> L.Trainer:
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=steps,
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(torch.zeros(3, 1), batch_size=1), **arguments)  # type: ignore[arg-type]
    return trainer


def test_a_continued_run_draws_what_it_would_have_drawn(tmp_path: Any) -> None:
    torch.manual_seed(7)
    whole = Drawing()
    run(whole, 8, tmp_path)
    assert len(set(whole.drawn)) == 8  # in the second and third epoch too
    torch.manual_seed(7)
    first = Drawing()
    run(first, 4, tmp_path).save_checkpoint(tmp_path / "four.ckpt")
    torch.manual_seed(99)
    second = Drawing()
    with pytest.warns(UserWarning, match="resuming from a checkpoint that ended before the epoch ended"):
        run(second, 8, tmp_path, ckpt_path=tmp_path / "four.ckpt")
    assert [*first.drawn, *second.drawn[:4]] == whole.drawn
    assert second.trained_steps == 4


def test_other_seeds_draw_other_numbers(tmp_path: Any) -> None:
    drawn = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        module = Drawing()
        run(module, 2, tmp_path)
        drawn.append(module.drawn)
    assert not set(drawn[0]) & set(drawn[1])


def test_tensors_of_other_shapes_are_refused() -> None:
    checkpoint = {"state_dict": Drawing(3).state_dict(), "global_step": 4, SEED_KEY: 1}
    with pytest.raises(UserError, match=r"the checkpoint holds weight of 3, not weight of 2: use the config.yaml"):
        Drawing(2).on_load_checkpoint(checkpoint)
