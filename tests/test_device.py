import pytest
import torch

from decametre.device import choose_devices, choose_precision
from decametre.errors import DeviceError, UnknownNameError

CPU = torch.device("cpu")


@pytest.fixture
def gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert choose_devices("auto") == choose_devices("cpu") == [CPU]
    with pytest.raises(DeviceError, match="torch sees no GPU here"):
        choose_devices("cuda")
    with pytest.raises(DeviceError, match="torch sees 0 GPUs"):
        choose_devices("cuda:0")


@pytest.mark.usefixtures("gpus")
def test_all_gpus_share_the_work():
    both = [torch.device("cuda", 0), torch.device("cuda", 1)]
    assert choose_devices("auto") == choose_devices("cuda") == both
    assert choose_devices("cuda:1") == both[1:]
    assert choose_devices("cpu") == [CPU]
    with pytest.raises(DeviceError, match="cuda:2"):
        choose_devices("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:", ""])
@pytest.mark.usefixtures("gpus")
def test_another_name_is_refused(name):
    with pytest.raises(DeviceError, match="give auto, cpu, cuda or cuda:N"):
        choose_devices(name)


def test_precision():
    assert choose_precision("float32", CPU) == torch.float32
    assert choose_precision("bfloat16", CPU) == torch.bfloat16
    assert choose_precision("auto", CPU) in (torch.float32, torch.bfloat16)
    with pytest.raises(UnknownNameError, match=r"did you mean .*bfloat16"):
        choose_precision("bfloat", CPU)


@pytest.mark.parametrize(("gain", "chosen"), [(0.4, torch.float32), (2.0, torch.bfloat16)])
def test_the_probe_decides(monkeypatch, gain, chosen):
    monkeypatch.setattr("decametre.device.bfloat16_gain", lambda: gain)
    assert choose_precision("auto", CPU) == chosen


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_modern_gpu_computes_in_bfloat16():
    device = choose_devices("auto")[0]
    modern = torch.cuda.get_device_capability(device) >= (8, 0)
    assert (choose_precision("auto", device) == torch.bfloat16) == modern
