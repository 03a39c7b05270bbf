import math

import numpy as np
import pytest
import torch

from decametre.superres.evaluation.pansharpening_indices import (
    RunningMean,
    hypercomplex_table,
    local_correlation,
    q2n,
)


def whole(image):
    return torch.ones(image.shape, dtype=torch.bool)


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.manual_seed(seed), dtype=torch.float64)


def test_units_multiply_as_complex_numbers_and_quaternions():
    two = hypercomplex_table(2)
    assert two[0, 0].tolist() == [1, 0]
    assert two[1, 1].tolist() == [1, 0]  # i conj(i) = 1
    assert two[0, 1].tolist() == [0, -1]
    four = hypercomplex_table(4)
    assert (-four[1, 2]).tolist() == [0, 0, 0, 1]  # i j = k
    assert (-four[2, 1]).tolist() == [0, 0, 0, -1]  # j i = -k


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_the_norm_of_a_product_is_the_product_of_norms(size):
    a, b = random(size), random(size, seed=1)
    product = torch.einsum("i,j,ijk->k", a, b, hypercomplex_table(size))
    assert float(product.norm()) == pytest.approx(float(a.norm() * b.norm()))


def test_equal_images_have_1():
    image = random(6, 64, 40)
    found = q2n(image, image, whole(image))
    assert found.shape == (2,)
    assert found.tolist() == pytest.approx([1, 1])


def test_one_band_is_the_index_of_wang_and_bovik_of_scaled_bands():
    truth = random(1, 32, 32)
    image = truth + 0.2 * random(1, 32, 32, seed=1)
    mean, spread = truth.mean(), truth.std(correction=0)
    x, y = ((each - mean) / spread + 1 for each in (image, truth))
    covariance = float((x * y).mean() - x.mean() * y.mean())
    by_hand = (
        (4 * covariance * float(x.mean() * y.mean()))
        / float(x.var(correction=0) + y.var(correction=0))
        / float(x.mean() ** 2 + y.mean() ** 2)
    )
    assert q2n(image, truth, whole(truth)).tolist() == pytest.approx([by_hand])


def test_two_bands_by_hand_with_complex_numbers():
    truth = random(2, 32, 32)
    image = truth + 0.3 * random(2, 32, 32, seed=1)
    mean = truth.mean(dim=(1, 2), keepdim=True)
    spread = truth.std(dim=(1, 2), correction=0, keepdim=True)
    x, y = (torch.complex(*((each - mean) / spread + 1)).numpy().ravel() for each in (image, truth))
    covariance = abs((y * x.conj()).mean() - y.mean() * x.mean().conj())
    variances = (
        (abs(x) ** 2).mean() - abs(x.mean()) ** 2 + (abs(y) ** 2).mean() - abs(y.mean()) ** 2
    )
    means = abs(x.mean()), abs(y.mean())
    by_hand = 4 * covariance * means[0] * means[1] / variances / (means[0] ** 2 + means[1] ** 2)
    assert q2n(image, truth, whole(truth)).tolist() == pytest.approx([by_hand])


def test_bands_of_other_ground_have_a_low_index():
    truth, other = random(6, 32, 32), random(6, 32, 32, seed=1)
    assert float(q2n(other, truth, whole(truth))) < 0.2


def test_blocks_with_gaps_or_without_contrast_have_none():
    truth = random(2, 32, 96)
    mask = whole(truth)
    mask[1, 5, 40] = False
    truth[0, :, 64:] = 0.1
    found = q2n(truth + 0.01, truth, mask)
    assert found.isnan().tolist() == [False, True, True]
    mean = RunningMean()
    mean.add(found)
    mean.add(torch.tensor([math.nan]))
    assert mean.mean == pytest.approx(float(found[0]))
    assert math.isnan(RunningMean().mean)


def test_local_correlation_is_that_of_numpy():
    image, guide, other = (random(12, 14, seed=seed).numpy() for seed in range(3))
    found = local_correlation(image, [guide, other], 2)
    assert found.shape == (8, 10)
    for row, col in [(0, 0), (3, 4), (7, 9)]:
        at = slice(row, row + 5), slice(col, col + 5)
        of_each = [np.corrcoef(image[at].ravel(), g[at].ravel())[0, 1] for g in (guide, other)]
        assert found[row, col] == pytest.approx(max(of_each))
    assert local_correlation(image, [guide], 6).shape == (6, 8)


def test_local_correlation_ignores_incomplete_windows():
    image = random(12, 14).numpy()
    copy = 2 * image + 1
    copy[6, 0] = np.nan
    found = local_correlation(image, [copy], 2)
    unknown = np.zeros((8, 10), bool)
    unknown[2:7, 0] = True
    assert np.array_equal(np.isnan(found), unknown)
    assert found[~unknown] == pytest.approx(1)
    flat = np.ones((12, 14))
    assert np.isnan(local_correlation(flat, [image], 2)).all()
