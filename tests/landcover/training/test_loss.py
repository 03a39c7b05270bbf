import numpy as np
import pytest
import torch
from timm.loss import AsymmetricLossMultiLabel
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from decametre.landcover.training.loss import (
    EFFECTIVE_NUMBER_BETA,
    FOCAL_PARAMETERS,
    class_weights,
    loss_sum,
)

RANDOM = torch.Generator().manual_seed(0)
LOGITS = 3 * torch.randn(16, 5, generator=RANDOM, dtype=torch.float64)
TARGETS = (torch.rand(16, 5, generator=RANDOM) < 0.3).double()


def test_losses_equal_those_of_other_libraries():
    bce = F.binary_cross_entropy_with_logits(LOGITS, TARGETS, reduction="sum")
    focal = sigmoid_focal_loss(LOGITS, TARGETS, alpha=-1, gamma=2.0, reduction="sum")
    of_a_patch = AsymmetricLossMultiLabel(gamma_neg=4, gamma_pos=0, clip=0.05)(LOGITS, TARGETS)
    asymmetric = of_a_patch * len(LOGITS)
    for name, expected in {"bce": bce, "focal": focal, "asymmetric": asymmetric}.items():
        found = loss_sum(LOGITS, TARGETS, FOCAL_PARAMETERS[name], None)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0, check_dtype=False)


@pytest.mark.parametrize("name", FOCAL_PARAMETERS)
def test_large_logits_have_finite_losses_and_gradients(name):
    logits = torch.tensor([[-200.0, 200.0, -200.0, 200.0]], requires_grad=True)
    loss = loss_sum(logits, torch.tensor([[1.0, 0.0, 0.0, 1.0]]), FOCAL_PARAMETERS[name], None)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", FOCAL_PARAMETERS)
def test_classes_are_weighted(name):
    weights = torch.tensor([0.0, 2.0, 0.0, 0.0, 0.0])
    found = loss_sum(LOGITS, TARGETS, FOCAL_PARAMETERS[name], weights)
    alone = loss_sum(LOGITS[:, 1:2], TARGETS[:, 1:2], FOCAL_PARAMETERS[name], None)
    torch.testing.assert_close(found, 2 * alone)


def test_weights_of_classes():
    support = np.array([50, 10, 0, 100])
    assert class_weights(support, 100, "none") is None
    by_hand = torch.tensor([2.0, 10.0, 13 / 3, 1.0]) * 3 / 13
    by_hand[2] = 1
    torch.testing.assert_close(class_weights(support, 100, "inverse"), by_hand)
    effective = class_weights(support, 100, "effective")
    assert float(effective[0] / effective[3]) == pytest.approx(
        (1 - EFFECTIVE_NUMBER_BETA**100) / (1 - EFFECTIVE_NUMBER_BETA**50)
    )
    assert float(effective[[0, 1, 3]].mean()) == pytest.approx(1)
