import pytest
import torch

from decametre import device
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
    with pytest.raises(UnknownNameError, match=r"did you mean .*bfloat16"):
        choose_precision("bfloat", CPU)


@pytest.mark.parametrize(
    ("cpu_info", "flags"),
    [
        ("processor : 0\nflags : fpu avx512f avx512_bf16 amx_bf16 amx_tile\n", 2),
        ("processor : 0\nFeatures : fp asimd bf16 i8mm\n", 1),
        ("processor : 0\nflags : fpu avx2 avx512f\nbugs : bf16\n", 0),
        ("", 0),
    ],
)
def test_flags_of_the_cpu_decide_the_precision(tmp_path, monkeypatch, cpu_info, flags):
    (tmp_path / "cpuinfo").write_text(cpu_info)
    monkeypatch.setattr(device, "CPU_INFO", tmp_path / "cpuinfo")
    assert len(device.bfloat16_flags()) == flags
    assert choose_precision("auto", CPU) == (torch.bfloat16 if flags else torch.float32)


def test_float32_where_the_system_lists_no_flags(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "CPU_INFO", tmp_path / "none")
    assert choose_precision("auto", CPU) == torch.float32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_modern_gpu_computes_in_bfloat16():
    gpu = choose_devices("auto")[0]
    modern = torch.cuda.get_device_capability(gpu) >= (8, 0)
    assert (choose_precision("auto", gpu) == torch.bfloat16) == modern
