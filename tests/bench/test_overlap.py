"""Traces made by hand, and a real run of two processes."""

import gzip
import json

import pytest
from click.testing import CliRunner

from decametre.bench.overlap_output import typical
from decametre.bench.overlap_report import Report
from decametre.bench.overlap_trace import ENGINE, GRADIENT, Step, steps_of
from decametre.cli.bench import bench
from decametre.errors import TrainingError


def event(name, begin, end, cat="cpu_op", tid=1, **args):
    """Times are milliseconds from the first step's begin; a trace has microseconds of some day."""
    start = 5_000_000 + 1000 * begin
    return {"ph": "X", "cat": cat, "name": name, "tid": tid, "ts": start} | {
        "dur": 1000 * (end - begin),
        "args": args,
    }


def gloo(begin, end):
    return event("gloo:all_reduce", begin, end, "user_annotation", tid=2)


STEP = [
    event("ProfilerStep#3", 0, 100, "user_annotation"),
    event(GRADIENT, 10, 90, "user_annotation"),
    event("aten::conv2d", 10, 30),
    event(f"{ENGINE}ConvolutionBackward0", 31, 60),
    event("aten::convolution_backward", 32, 60),
    event(f"{ENGINE}torch::autograd::AccumulateGrad", 60, 61),
    event(f"{ENGINE}ConvolutionBackward0", 61, 80),
]


def one(*events):
    (found,) = steps_of({"traceEvents": [{"ph": "M", "name": "process_name"}, *STEP, *events]})
    return found


def test_what_is_exchanged_during_back_propagation_is_told_from_what_is_not():
    found = one(gloo(50, 65), gloo(78, 88)).times()
    assert found.step == pytest.approx(100)
    assert found.backward == pytest.approx(49)
    assert found.buckets == pytest.approx((15, 10))
    assert found.exchange == pytest.approx(25)
    assert found.overlapped == pytest.approx(17)
    assert found.exposed == pytest.approx(8)


def test_buckets_that_travel_at_the_same_time_count_once():
    found = one(gloo(50, 65), gloo(60, 70)).times()
    assert found.exchange == pytest.approx(20)
    assert found.exposed == pytest.approx(0)


def test_counts_of_losses_and_statistics_of_norms_are_no_gradients():
    found = one(gloo(8, 12), gloo(28, 31), gloo(50, 65), gloo(92, 95))
    assert found.times().buckets == pytest.approx((15,))


def test_a_step_that_was_traced_in_part_is_left_out():
    rest = event(f"{ENGINE}ConvolutionBackward0", 120, 130)
    lone = [event(GRADIENT, 110, 130, "user_annotation"), rest, gloo(125, 135)]
    assert one(gloo(50, 65), *lone).times().buckets == pytest.approx((15,))


def test_on_a_gpu_kernels_count_wherever_they_were_launched():
    """Back-propagation is launched by the processor long before the GPU computes it."""

    def kernel(name, launched, begin, end, number):
        launch = event("cudaLaunchKernel", launched, launched, "cuda_runtime", correlation=number)
        return [launch, event(name, begin, end, "kernel", tid=7, correlation=number)]

    nccl = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
    found = one(
        *kernel("implicit_gemm", 20, 20, 40, 1),  # the forward pass
        *kernel("dgrad", 32, 40, 60, 2),
        *kernel("wgrad", 62, 60, 95, 3),
        *kernel(nccl, 61, 62, 90, 4),
        *kernel(nccl, 79, 90, 99, 5),
        *kernel("multi_tensor_apply", 92, 99, 100, 6),  # the optimizer
    ).times()
    assert found.backward == pytest.approx(55)
    assert found.buckets == pytest.approx((28, 9))
    assert found.overlapped == pytest.approx(33)


def test_a_report_takes_medians_and_knows_who_waits():
    def step(late):
        return Step(100, (0, 90), [(10, 80)], [(40 - late, 50), (75 - late, 85)]).times()

    report = Report(
        "native_2x", "a processor", 32, 4_000_000, "none", [[step(0), step(20), step(5)]] * 2
    )
    (row, _) = report.rows
    assert (row.exchange.median, row.exchange.least, row.exchange.most) == (30, 20, 60)
    assert row.exposed.median == row.exposed.most == 5
    uneven = Report("native_2x", "", 32, 4, "none", [[step(20)], [step(5)]])
    assert uneven.transfer.median == 30
    assert "| 1 | 30.0 (30.0 to 30.0) | 25.0 (" in uneven.table()
    assert Report.of(json.loads(json.dumps(report.to_dict()))) == report


def test_the_step_that_is_drawn_is_no_outlier():
    steps = [Step(9, (0, 9), [(1, 5)], [(4, end)]) for end in (6, 30, 7, 8, 5)]
    assert typical([steps, steps]) == 2


def overlap(sample_item, *more):
    small = {"network.config": "{width: 8, blocks: 1}", "data.patch": 8, "optimization.batch": 4}
    words = ["overlap", "native_2x", "--train", sample_item, "--validation", sample_item]
    words += ["--precision", "float32", "--device", "cpu", "--steps", "3"]
    words += [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    return CliRunner().invoke(bench, [*words, *more])


def test_two_ranks_are_traced(sample_item, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = tmp_path / "out"
    done = overlap(sample_item, "--out", str(out))
    assert done.exit_code == 0, done.output
    assert done.output.startswith("native_2x, 2 ranks, batch 4, ")
    report = json.loads((out / "overlap.json").read_text())
    assert [len(steps) for steps in report["steps"]] == [3, 3]
    for steps in report["steps"]:
        for step in steps:
            assert len(step["buckets"]) == 1  # of so few weights
            assert 0 <= step["overlapped"] <= step["exchange"] <= step["step"]
            assert 0 < step["backward"] < step["step"]
    assert (out / "overlap.png").read_bytes().startswith(b"\x89PNG")
    with gzip.open(out / "trace.json.gz", "rt") as file:
        assert len(steps_of(json.load(file))) == 3


def test_what_cannot_be_traced_is_one_line(tmp_path, monkeypatch):
    done = overlap(str(tmp_path / "none.json"))
    assert isinstance(done.exception, TrainingError)
    assert "none.json" in str(done.exception)
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    done = overlap(str(tmp_path / "none.json"))
    assert "start two or more" in str(done.exception)
