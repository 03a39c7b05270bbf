import pytest
import torch

from benchmarks import kernels


def test_models_are_scored_under_every_kernel(sample_item):
    names = ["dsen2", "0.2", "0.6"]
    report = kernels.run([sample_item], 6, names, ["bicubic_6x", "regression_6x"])
    found = {(score.kernel, score.model): score.ratio for score in report.scores}
    assert list(found) == [(k, m) for k in names for m in ("bicubic_6x", "regression_6x")]
    for kernel in names:
        assert found[kernel, "bicubic_6x"] == pytest.approx(1)
    # A plain mean over 60 m is near the kernel dsen2, and far from a strong blur.
    assert found["dsen2", "regression_6x"] < 0.5 < found["0.2", "regression_6x"]
    assert f"| dsen2 | 1.000 | {found['dsen2', 'regression_6x']:.3f} |" in report.table()
    assert report.to_dict()["scores"][0]["kernel"] == "dsen2"


def test_the_nominal_kernel_has_each_bands_gain(sample_item, monkeypatch):
    taps = {}

    def recorded(scene, of_gsd):
        taps.update(of_gsd)
        raise KeyboardInterrupt

    monkeypatch.setattr(kernels, "degrade_with_taps", recorded)
    with pytest.raises(KeyboardInterrupt):
        kernels.run([sample_item], 6, ["nominal"], [])
    offsets = torch.arange(taps[60].shape[1]) - (taps[60].shape[1] - 1) / 2
    gains = (taps[60] * torch.cos(torch.pi / 6 * offsets)).sum(dim=1)
    expected = [kernels.ALL_BANDS[name].mtf for name in ("B01", "B09")]
    assert gains.tolist() == pytest.approx(expected, abs=2e-3)


def test_the_published_network_gets_its_bands_and_padding(tmp_path):
    class Sum(torch.nn.Module):
        def forward(self, ten, twenty):
            # DN / 2000, the first band is B04.
            return twenty + 0 * ten[:, :1] + ten[:, :1]

    torch.jit.script(Sum()).save(str(tmp_path / "L1C20M.pt"))
    predicted = kernels._published_dsen2(tmp_path / "L1C20M.pt", 2)
    ten = torch.arange(4.0)[None, :, None, None].expand(1, 4, 24, 24)
    twenty = torch.full((1, 6, 12, 12), 0.5)
    mask = torch.ones(1, 6, 24, 24, dtype=torch.bool)
    pair = kernels.DegradedPair({10: ten, 20: twenty}, mask.float(), mask, mask[:, :1])
    found = predicted(pair)
    torch.testing.assert_close(found, torch.full((1, 6, 24, 24), 2.5))
