"""A reservoir with logits is a reservoir, and its logits stay with their samples."""

import torch

from rtp.modules.continual.stores.logit_reservoir import LogitReservoir
from rtp.modules.continual.stores.reservoir import Reservoir


def test_it_draws_as_a_reservoir_does_and_logits_stay_with_their_samples() -> None:
    plain, store = Reservoir(6, (1, 2, 2)), LogitReservoir(6, (1, 2, 2), outputs=3)
    numbers = torch.arange(40)
    images = numbers.float().view(-1, 1, 1, 1).expand(40, 1, 2, 2)
    for start in range(0, 40, 8):
        part = slice(start, start + 8)
        for reservoir in (plain, store):
            torch.manual_seed(start)
            if isinstance(reservoir, LogitReservoir):
                logits = images[part, 0, 0] + torch.tensor([0.0, 0.1])[:, None].sum(0)
                reservoir.add_with_logits(images[part], numbers[part], 0, torch.cat([logits, logits[:, :1]], 1))
            else:
                reservoir.add(images[part], numbers[part], 0)
    assert torch.equal(plain.content()[1], store.content()[1])
    torch.testing.assert_close(store.logits[:, 2], store.labels + 0.1)
    images, logits = store.sample_logits(4)
    torch.testing.assert_close(logits[:, 0], images[:, 0, 0, 0] + 0.1)
    assert (store.bytes_per_sample, store.storage_bytes, store.other_bytes) == (4 * 7, 6 * 4 * 7, 6 * 16 + 24)
    store.shrink(2)
    torch.testing.assert_close(store.logits[:2, 2], store.labels[:2] + 0.1)
    assert store.logits[2:].count_nonzero() == 0
    store.clear()
    assert store.storage_bytes == store.logits.count_nonzero() == 0
