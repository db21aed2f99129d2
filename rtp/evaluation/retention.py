"""Retained accuracy (RA) and backward transfer and interference (BTI, section 5.2), as data, a table and JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rtp.utils.tables import text_table


@dataclass(frozen=True)
class Retention:
    """Accuracies on the tasks of a stream.

    Attributes:
        test: On the test set of each finished task at the end, one number for each classifier: networks trained on
            recalled images, or the single network.
        validation: Row t holds the accuracies on the validation samples of tasks 0..t right after task t. A run that
            was not validated after every task has fewer rows than tasks.
        interferes: Whether learning a task changes what was learned before; BTI is not applicable otherwise.
    """

    test: Sequence[Sequence[float]]
    validation: Sequence[Sequence[float]]
    interferes: bool

    @property
    def retained_accuracies(self) -> list[float]:
        """RA of each classifier: its mean accuracy over the tasks."""
        return torch.tensor(self.test, dtype=torch.float64).mean(0).tolist()

    @property
    def retained_accuracy(self) -> float:
        """RA: "the average accuracy of the final trained model on all tasks"."""
        return float(torch.tensor(self.test, dtype=torch.float64).mean())

    @property
    def interference(self) -> float | None:
        """BTI: mean over the tasks of the accuracy at the end minus that right after the task; negative if forgotten.

        Gupta et al., "La-MAML", NeurIPS 2020. It is taken on validation samples: the networks right after a task no
        longer exist when the test set is read. None where it is not applicable or unknown.
        """
        if not self.interferes or not self._after_every_task:
            return None
        final = self.validation[-1]
        return sum(final[task] - row[task] for task, row in enumerate(self.validation)) / len(final)

    def as_dict(self) -> dict[str, Any]:
        """Plain values under the names that `test.json` uses."""
        return {
            "retained_accuracy": self.retained_accuracy,
            "retained_accuracies": self.retained_accuracies,
            "backward_transfer_interference": self.interference,
            "test_accuracies": [list(row) for row in self.test],
            "validation_accuracies": [list(row) for row in self.validation],
        }

    def table(self) -> str:
        """A line for each task, accuracies in percent, and a line of RA and BTI."""
        rows = []
        for task, accuracies in enumerate(self.test):
            validation = (self.validation[task][task], self.validation[-1][task]) if self._after_every_task else ()
            numbers = [f"{100 * fraction:.2f}" for fraction in (*validation, sum(accuracies) / len(accuracies))]
            rows.append([str(task), *["-"] * (3 - len(numbers)), *numbers])
        header = ("task", "after it (val, %)", "at the end (val, %)", "at the end (test, %)")
        return f"{text_table(header, rows, words=0)}\n\n{self.summary()}"

    def summary(self) -> str:
        """RA and BTI in a line."""
        spread = float(torch.tensor(self.retained_accuracies, dtype=torch.float64).std(correction=0))
        several = f" +- {100 * spread:.2f} over {len(self.retained_accuracies)} networks a task"
        interference = "n/a" if self.interference is None else f"{100 * self.interference:.2f} % (validation)"
        return (
            f"retained accuracy {100 * self.retained_accuracy:.2f} %"
            f"{several if len(self.retained_accuracies) > 1 else ''} on the test sets of {len(self.test)} tasks; "
            f"backward transfer and interference {interference}"
        )

    @property
    def _after_every_task(self) -> bool:
        return [len(row) for row in self.validation] == list(range(1, len(self.test) + 1))
