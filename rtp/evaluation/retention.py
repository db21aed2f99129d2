"""What a continual learner retains: RA, BTI, backward transfer and forgetting, as data, a table and JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rtp.utils.tables import text_table


@dataclass(frozen=True)
class Retention:
    """Accuracies on the tasks of a stream, and the measures of continual learning.

    R[i, j] is the accuracy on task j right after task i, both in 0..T-1 and j <= i. R is measured on validation
    samples, as the networks right after a task no longer exist when the test set is read; RA on the test set.

    Attributes:
        test: On the test set of each finished task at the end, one number in [0, 1] for each classifier: networks
            trained on recalled images, or the single network.
        accuracy_matrix: R, its lower triangle: row i holds R[i, 0], ..., R[i, i], in [0, 1]. A run that was not
            validated after every task has fewer rows than tasks, and the length of a row tells its task.
        interferes: Whether learning a task changes what was learned before; BTI, backward transfer and forgetting are
            not applicable otherwise.
    """

    test: Sequence[Sequence[float]]
    accuracy_matrix: Sequence[Sequence[float]]
    interferes: bool

    @property
    def retained_accuracies(self) -> list[float]:
        """RA of each classifier: its mean accuracy over the tasks."""
        return torch.tensor(self.test, dtype=torch.float64).mean(0).tolist()

    @property
    def retained_accuracy(self) -> float:
        """RA = 1/T sum_j R[T-1, j] on the test set, in [0, 1]: "the average accuracy of the final trained model".

        Section 5.2; it is ACC of Lopez-Paz and Ranzato, "Gradient episodic memory", NeurIPS 2017, equation 2.
        """
        return float(torch.tensor(self.test, dtype=torch.float64).mean())

    @property
    def interference(self) -> float | None:
        """BTI = 1/T sum_j (R[T-1, j] - R[j, j]), in [-1, 1]: the end less right after the task; negative if forgotten.

        Gupta et al., "La-MAML", NeurIPS 2020. All T tasks count, the last one with 0, so BTI = (T-1)/T BWT. None where
        it is not applicable, or unknown as a task was not validated right after it.
        """
        if not self.interferes or not self._after_every_task:
            return None
        return sum(self._changes) / len(self._changes)

    @property
    def backward_transfer(self) -> float | None:
        """BWT = 1/(T-1) sum_{j<T-1} (R[T-1, j] - R[j, j]), in [-1, 1]; negative if forgotten.

        Lopez-Paz and Ranzato, "Gradient episodic memory", NeurIPS 2017, equation 3. None as for BTI, and for one task.
        """
        if not self.interferes or not self._after_every_task or len(self.test) < 2:
            return None
        earlier = self._changes[:-1]
        return sum(earlier) / len(earlier)

    @property
    def forgetting(self) -> float | None:
        """F = 1/(T-1) sum_{j<T-1} (max_{j<=i<T-1} R[i, j] - R[T-1, j]), in [-1, 1]; positive if forgotten.

        Chaudhry et al., "Riemannian walk for incremental learning", ECCV 2018, section 3. The paper's maximum also
        takes accuracies on task j before it was learned, which are not measured here. F >= -BWT, with equality if each
        task was best right after it. None as for BTI, and for one task.
        """
        if not self.interferes or not self._after_every_task or len(self.test) < 2:
            return None
        *before, final = self.accuracy_matrix
        lost = [max(row[task] for row in before[task:]) - final[task] for task in range(len(before))]
        return sum(lost) / len(lost)

    def measures(self) -> dict[str, float | None]:
        """RA, BTI, BWT and F under the names that `test.json` and the curves of a test use."""
        return {
            "retained_accuracy": self.retained_accuracy,
            "backward_transfer_interference": self.interference,
            "backward_transfer": self.backward_transfer,
            "forgetting": self.forgetting,
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain values under the names that `test.json` uses."""
        return self.measures() | {
            "retained_accuracies": self.retained_accuracies,
            "test_accuracies": [list(row) for row in self.test],
            "accuracy_matrix": [list(row) for row in self.accuracy_matrix],
        }

    def table(self) -> str:
        """A line for each task, accuracies in percent, and the lines of `summary`."""
        rows, matrix = [], self.accuracy_matrix
        for task, accuracies in enumerate(self.test):
            validation = (matrix[task][task], matrix[-1][task]) if self._after_every_task else ()
            numbers = [f"{100 * fraction:.2f}" for fraction in (*validation, sum(accuracies) / len(accuracies))]
            rows.append([str(task), *["-"] * (3 - len(numbers)), *numbers])
        header = ("task", "after it (val, %)", "at the end (val, %)", "at the end (test, %)")
        return f"{text_table(header, rows, words=0)}\n\n{self.summary()}"

    def summary(self) -> str:
        """RA in a line; BTI, BWT and F in a second one."""
        spread = float(torch.tensor(self.retained_accuracies, dtype=torch.float64).std(correction=0))
        several = f" +- {100 * spread:.2f} over {len(self.retained_accuracies)} networks a task"
        retained = (
            f"retained accuracy {100 * self.retained_accuracy:.2f} %"
            f"{several if len(self.retained_accuracies) > 1 else ''} on the test sets of {len(self.test)} tasks"
        )
        names = ("backward transfer and interference", "backward transfer", "forgetting")
        values = (self.interference, self.backward_transfer, self.forgetting)
        changes = [
            f"{name} {'n/a' if value is None else f'{100 * value:.2f} %'}"
            for name, value in zip(names, values, strict=True)
        ]
        where = "" if self.interference is None else " (validation)"
        return f"{retained}\n{', '.join(changes)}{where}"

    @property
    def _changes(self) -> list[float]:
        """R[T-1, j] - R[j, j] of each task."""
        final = self.accuracy_matrix[-1]
        return [final[task] - row[task] for task, row in enumerate(self.accuracy_matrix)]

    @property
    def _after_every_task(self) -> bool:
        return [len(row) for row in self.accuracy_matrix] == list(range(1, len(self.test) + 1))
