"""The diagonal Fisher information against closed forms and a second way to work it out."""

import torch
from torch import nn
from torch.nn import functional as F

from rtp.modules.continual.fisher import diagonal_fisher


def test_of_a_linear_classifier_in_closed_form() -> None:
    # d log p(y|x) / dW_cd = ([y = c] - p_c) x_d, with variance p_c (1 - p_c) x_d^2 under y ~ p
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 3)).double()
    images = torch.randn(5, 1, 2, 3, dtype=torch.double)
    p = network(images).softmax(1).detach()
    variance = p * (1 - p)
    weight = torch.einsum("nc,nd->cd", variance, images.flatten(1).square()) / 5
    expected = torch.cat([weight.flatten(), variance.mean(0)])
    torch.testing.assert_close(diagonal_fisher(network, images, torch.arange(3)), expected)


def test_of_a_deep_network_and_one_task_of_several() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 6)).double()
    images = torch.randn(3, 1, 2, 2, dtype=torch.double)
    expected = torch.zeros(5 * 5 + 6 * 6, dtype=torch.double)
    for image in images:
        for label in range(2):
            log_p = F.log_softmax(network(image[None])[0, 2:4], 0)[label]
            gradient = torch.cat([g.flatten() for g in torch.autograd.grad(log_p, list(network.parameters()))])
            expected += log_p.exp().detach() * gradient**2 / 3
    fisher = diagonal_fisher(network, images, torch.tensor([2, 3]))
    torch.testing.assert_close(fisher, expected)
    assert (fisher[-6:] > 0).tolist() == [False, False, True, True, False, False]  # the biases of the other tasks
