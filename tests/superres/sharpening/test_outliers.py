import torch

from decametre.superres.sharpening.outliers import ALLOWANCE, REACH, count_outliers


def test_counts_by_hand():
    # Coarse pixels from 0.1 to 0.3: the limits are -0.1 and 0.5.
    coarse = torch.full((1, 2, 3 + 2 * REACH, 4 + 2 * REACH), 0.1)
    coarse[0, 0, 3, 3] = 0.3
    fine = torch.full((1, 2, 6, 8), 0.2)
    fine[0, 0, 0, 0], fine[0, 0, 3, 3] = 0.49, -0.09
    # The second band is constant, so that the tolerance is the least one.
    fine[0, 1] = 0.1 + 0.9 * ALLOWANCE
    valid = torch.ones(1, 2, 3, 4, dtype=torch.bool)
    assert count_outliers(fine, coarse, valid, 2).tolist() == [0, 0]
    fine[0, 0, 0, 0], fine[0, 0, 3, 3] = 0.51, -0.11
    fine[0, 1, 5, 6:] = 0.1 + 1.1 * ALLOWANCE
    assert count_outliers(fine, coarse, valid, 2).tolist() == [2, 2]
    valid[0, 1, 2, 3] = False
    assert count_outliers(fine, coarse, valid, 2).tolist() == [2, 0]
