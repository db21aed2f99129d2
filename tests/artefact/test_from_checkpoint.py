"""What a file says about a run; files of whole runs are in tests/cli/commands/test_export.py."""

import pytest
import torch

from rtp.artefact.from_checkpoint import query_network
from rtp.artefact.query_network import QueryNetwork
from rtp.errors import UserError


def test_a_feature_network_of_one_s_own_is_refused() -> None:
    memory = {"init_args": {"feature_network": {"class_path": "mine.Net", "init_args": {}}}}
    with pytest.raises(UserError, match=r"^the feature network is mine.Net: a file holds AlexNet or ConvNet or MLP or"):
        query_network(memory, torch.zeros(3, 6, 5))
    memory["init_args"]["feature_network"] = {"class_path": "rtp.modules.MLP", "init_args": {"hidden_width": 3}}
    assert query_network(memory, torch.zeros(3, 6, 5)) == QueryNetwork("MLP", {"hidden_width": 3, "depth": 1}, 6)
