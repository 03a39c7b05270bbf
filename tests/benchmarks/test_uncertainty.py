import pytest
import torch

from benchmarks.uncertainty import UncertaintyReport, compare, run
from decametre.superres.models.uncertainty import LEVELS

FACTORS = {"deviation": 2.0, "50": 1.0, "80": 2.0, "90": 3.0, "95": 4.0}


def test_coverage_and_correlation_of_a_perfect_prediction():
    deviation = torch.linspace(1, 9, 64)[None, None, None].expand(1, 1, 64, 64).clone()
    error = deviation * torch.tensor([0.4, -0.9, 1.4, -5.0]).repeat(1024).view(1, 1, 64, 64)
    mask = torch.ones_like(error, dtype=torch.bool)
    coverage, ratio, correlation = compare(error, deviation, mask, FACTORS, block=8)
    # Half of the interval is the deviation times 0.5, 1, 1.5 and 2.
    assert coverage == pytest.approx({"50": 25, "80": 50, "90": 75, "95": 75})
    assert ratio > 1
    assert correlation == pytest.approx(1)


def test_masked_pixels_do_not_count():
    deviation = torch.ones(1, 1, 64, 64)
    error = deviation.clone()
    error[..., :40] = 100
    mask = error < 100
    coverage, ratio, correlation = compare(error, deviation, mask, FACTORS, block=32)
    assert coverage == pytest.approx({"50": 0, "80": 100, "90": 100, "95": 100})
    assert ratio == pytest.approx(1)
    assert correlation is None


def test_every_band_of_a_product_is_compared(sample_item):
    report = run([sample_item], "native_6x", ["mtf"])
    assert isinstance(report, UncertaintyReport)
    assert [(score.kernel, score.band) for score in report.scores] == [
        ("mtf", "B01"),
        ("mtf", "B09"),
    ]
    for score in report.scores:
        values = [score.coverage[str(level)] for level in LEVELS]
        assert values == sorted(values)
        assert f"| mtf | {score.band} | {values[0]:.1f} |" in report.table()
