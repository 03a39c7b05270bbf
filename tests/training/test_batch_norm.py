import pytest
import torch
from timm import create_model
from torch import nn

from decametre.training.batch_norm import (
    SynchronisedBatchNorm,
    replace_norms,
    synchronised_norms,
    without_exchange,
)
from tests.training.team import together


def network(norm, name="test_resnet"):
    torch.manual_seed(0)
    return replace_norms(create_model(name, num_classes=3), norm)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_networks_keep_weights_and_results_where_the_norm_has_them(name):
    images = torch.rand(2, 3, 64, 64)
    as_it_is = network("merged", name).eval()(images)
    for norm in ("synchronised", "frozen"):
        torch.testing.assert_close(network(norm, name).eval()(images), as_it_is)
    grouped = network("group", name)
    assert any(isinstance(module, nn.GroupNorm) for module in grouped.modules())
    assert torch.isfinite(grouped(images)).all()


def test_frozen_norms_never_change():
    frozen = network("frozen").train()
    before = {key: value.clone() for key, value in frozen.state_dict().items()}
    frozen(torch.rand(4, 3, 64, 64)).sum().backward()
    assert all(torch.equal(value, before[key]) for key, value in frozen.state_dict().items())
    assert not any("bn" in key for key, _ in frozen.named_parameters())


def by_ranks(ranks, shares):
    """Result, gradients and statistics of a synchronised norm."""
    x = torch.rand(6, 4, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    norm = SynchronisedBatchNorm(4).double()
    nn.init.uniform_(norm.weight, generator=torch.Generator().manual_seed(2))
    norm.group = ranks.gradient_group
    begin = sum(shares[: ranks.rank])
    mine = x[begin : begin + shares[ranks.rank]].requires_grad_()
    result = norm(mine)
    (result**3).sum().backward()
    with without_exchange(norm):
        assert [n.group for n in synchronised_norms(norm)] == [None]
    assert norm.group is not None
    statistics = torch.stack([norm.running_mean, norm.running_var])
    return result.detach(), mine.grad, norm.weight.grad, statistics


def test_a_synchronised_norm_is_batch_norm_over_all_ranks(tmp_path):
    x = torch.rand(6, 4, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x.requires_grad_()
    norm = nn.BatchNorm2d(4).double()
    nn.init.uniform_(norm.weight, generator=torch.Generator().manual_seed(2))
    result = norm(x)
    (result**3).sum().backward()
    for number, shares in enumerate(([3, 3], [5, 1], [0, 6])):
        folder = tmp_path / str(number)
        folder.mkdir()
        first, second = together(by_ranks, 2, folder, shares=shares)
        exact = {"rtol": 0, "atol": 1e-12}
        torch.testing.assert_close(torch.cat([first[0], second[0]]), result.detach(), **exact)
        torch.testing.assert_close(torch.cat([first[1], second[1]]), x.grad, **exact)
        torch.testing.assert_close(first[2] + second[2], norm.weight.grad, **exact)
        for found in (first[3], second[3]):
            torch.testing.assert_close(
                found, torch.stack([norm.running_mean, norm.running_var]), **exact
            )
