import pytest
import torch
import torch.nn.functional as F

from decametre.superres.export.decompositions import mean_of_shifts, solve_by_elimination


def test_elimination_solves_positive_definite_systems():
    torch.manual_seed(0)
    roots = torch.randn(3, 5, 5, dtype=torch.float64)
    matrix = roots @ roots.mT + 0.01 * torch.eye(5)
    right = torch.randn(3, 5, 2, dtype=torch.float64)
    found = solve_by_elimination(matrix, right)[0]
    torch.testing.assert_close(found, torch.linalg.solve(matrix, right), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("kernel", "padding"), [((5, 1), (2, 0)), ((1, 3), (0, 1)), ((3, 3), (0, 0))]
)
@pytest.mark.parametrize("divisor", [None, 1])
def test_shifts_are_a_pooling(kernel, padding, divisor):
    image = torch.rand(2, 3, 7, 8, dtype=torch.float64)
    found = mean_of_shifts(image, kernel, (1, 1), padding, divisor_override=divisor)
    expected = F.avg_pool2d(image, kernel, 1, padding, divisor_override=divisor)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_other_poolings_remain():
    assert mean_of_shifts(torch.rand(1, 1, 4, 4), (3, 3), (1, 1)) is NotImplemented
    assert mean_of_shifts(torch.rand(1, 1, 4, 4).double(), (2, 2), (2, 2)) is NotImplemented
