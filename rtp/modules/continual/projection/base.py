"""The base of the learners with an episodic memory of each task."""

from typing import Any

from rtp.datamodules.streams.base import StreamBatch
from rtp.modules.continual.single_network import SingleNetworkLearner
from rtp.modules.continual.stores.base import SampleBits
from rtp.modules.continual.stores.task_rings import TaskRings


class EpisodicLearner(SingleNetworkLearner):
    """A learner that stores the last samples of each task, in a T-th of the budget.

    Args:
        memory_images: Storage budget, in real images of 32 bits a number; it must hold T.
        sample_bits: As in `ReplayLearner`.
        **kwargs: As in `SingleNetworkLearner`.

    Attributes:
        rings: The stored samples.

    Raises:
        UserError: If a number is out of its range.
    """

    def __init__(self, memory_images: int, sample_bits: SampleBits = 32, **kwargs: Any) -> None:
        super().__init__(memory_images=memory_images, **kwargs)
        self.rings = TaskRings(self.num_places(sample_bits), self.num_tasks, self.image_shape, sample_bits)

    def store(self, batch: StreamBatch) -> None:
        """Overwrite the task's oldest samples, the first time that a minibatch is seen."""
        if batch.replay == 0:
            self.rings.add(batch)
