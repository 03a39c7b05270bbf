import csv
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from decametre.bench import scaling as scaling_module
from decametre.bench.scaling import (
    MEASURED,
    ScalingMeasurement,
    append_measurements,
    batches_of,
    check_comparable,
    read_measurements,
)
from decametre.bench.scaling_model import MODEL_RANKS, PUBLISHED, Interconnect
from decametre.bench.scaling_output import write_report
from decametre.bench.scaling_report import SAMPLES, ScalingReport
from decametre.cli.bench import bench
from decametre.errors import OutputError, TrainingError
from decametre.recipes.reading import read_recipe
from tests.conftest import ROOT
from tests.training.team import finish, start

SCRIPTS = ROOT / "examples" / "slurm"


def measured(ranks, batch, seconds, recipe="native_2x"):
    return ScalingMeasurement(recipe, ranks, batch, 32, 10, seconds, 4_000_000, "a CPU, 1 thread")


STEPS = [
    *(measured(1, batch, 10 * (0.01 + batch * 0.001)) for batch in (8, 16, 32)),
    *(measured(2, 64, seconds) for seconds in (0.50, 0.48, 0.60)),
    *(measured(2, 32, seconds) for seconds in (0.30, 0.32, 0.28)),
]
"""One rank takes 0.01 s a step and 0.001 s a sample."""


@pytest.fixture
def report():
    return ScalingReport(STEPS, Interconnect())


def find(report, **wanted):
    (found,) = [p for p in report.points if all(getattr(p, k) == v for k, v in wanted.items())]
    return found


def test_points_are_medians_with_their_spread(report):
    weak = find(report, scaling="weak", source="measured", ranks=2)
    assert (weak.batch, weak.rate) == (64, 640 / 0.50)
    assert (weak.least, weak.most) == (640 / 0.60, 640 / 0.48)
    assert weak.efficiency == pytest.approx(0.42 / 0.50)
    assert weak.seconds == SAMPLES / weak.rate
    strong = find(report, scaling="strong", source="measured", ranks=2)
    assert (strong.batch, strong.rate) == (32, 320 / 0.30)
    assert strong.efficiency == pytest.approx(0.42 / 0.30 / 2)
    assert find(report, scaling="strong", source="measured", ranks=1).efficiency == 1


def test_the_model_begins_with_the_steps_of_one_rank():
    free = ScalingReport(STEPS, Interconnect(latency=0, bandwidth=1e15))
    for ranks in MODEL_RANKS:
        weak = find(free, scaling="weak", source="model", ranks=ranks)
        assert weak.efficiency == pytest.approx(1)
        assert weak.rate == pytest.approx(ranks * 32 / 0.042)
    # What a step costs however few its samples are is not shared.
    four = find(free, scaling="strong", source="model", ranks=4)
    assert four.rate == pytest.approx(32 / 0.018)
    # Nobody shares 32 samples among 64.
    assert max(p.ranks for p in free.points if p.scaling == "strong") == 32


def test_values_of_the_model_are_marked(report, tmp_path):
    write_report(report, tmp_path)
    text = report.table()
    assert "Model, not measured" in text
    assert "5 µs and 10 GB/s, 50% of it during back-propagation" in text
    assert all(f"| {gpus} | {seconds} s |" in text for gpus, seconds in PUBLISHED.items())
    assert "a CPU, 1 thread" in text
    rows = list(csv.DictReader((tmp_path / "scaling.csv").open()))
    assert {row["source"] for row in rows if int(row["ranks"]) > 2} == {"model"}
    assert {row["source"] for row in rows if int(row["ranks"]) <= 2} == {"measured"}
    document = json.loads((tmp_path / "scaling.json").read_text())
    assert len(document["points"]) == len(rows)
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_measurements_are_read_from_the_file(tmp_path):
    assert read_measurements(tmp_path) == []
    append_measurements(tmp_path / "new", STEPS[:2])
    append_measurements(tmp_path / "new", STEPS[2:])
    assert read_measurements(tmp_path / "new") == STEPS
    (tmp_path / MEASURED).write_text("a,b\n1,2\n")
    with pytest.raises(OutputError, match="not a file of scaling measurements"):
        read_measurements(tmp_path)
    with pytest.raises(OutputError, match="cannot be written"):
        append_measurements(tmp_path / "absent" / "new", STEPS)


def test_measurements_that_cannot_be_compared_are_refused(tmp_path):
    recipe = read_recipe("native_2x", {"optimization.batch": 32})
    other = read_recipe("native_6x", {"optimization.batch": 16})
    append_measurements(tmp_path, STEPS)
    check_comparable(tmp_path, [recipe], 2, "a CPU, 1 thread")
    check_comparable(tmp_path, [other], 1, "a CPU, 1 thread")
    with pytest.raises(OutputError, match="another --out"):
        check_comparable(tmp_path, [recipe], 2, "a CPU, 2 threads")
    with pytest.raises(
        TrainingError, match="no measurement of native_6x with batches of 16 on one rank"
    ):
        check_comparable(tmp_path, [recipe, other], 2, "a CPU, 1 thread")


def test_batches_are_multiples_of_micro_batches_and_large_enough_for_all_ranks():
    assert batches_of(32, 1) == [8, 16, 32]
    assert batches_of(32, 2) == [64, 32]
    assert batches_of(32, 64) == [2048]
    assert batches_of(32, 1, 16) == [16, 32]
    assert batches_of(32, 4, 16) == [128]


def scaling(sample_item, out, *more):
    small = {
        "network.architecture": "native",
        "network.config": "{width: 8, blocks: 1}",
        "data.patch": 8,
        "optimization.batch": 4,
    }
    words = ["scaling", "native_2x", "--train", sample_item, "--validation", sample_item]
    words += ["--precision", "float32", "--device", "cpu", "--steps", "2", "--repeat", "1"]
    words += [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    return CliRunner().invoke(bench, [*words, "--out", str(out), *more])


@pytest.mark.slow
def test_one_and_two_ranks_are_measured_with_as_many_threads_each(
    sample_item, tmp_path, monkeypatch
):
    def start_ranks(count, words):
        ended = finish(start([sys.executable, "-m", "decametre", "bench", *words], count))
        assert [status for status, _, _ in ended] == [0] * count, ended

    # Faster than torchrun, which the next test uses.
    monkeypatch.setattr(scaling_module, "start_ranks", start_ranks)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = scaling(sample_item, tmp_path / "out", "--ranks", "2")
    assert done.exit_code == 0, done.output
    found = read_measurements(tmp_path / "out")
    assert [(m.ranks, m.batch, m.steps) for m in found] == [
        (1, 1, 2),
        (1, 2, 2),
        (1, 4, 2),
        (2, 8, 2),
        (2, 4, 2),
    ]
    assert all(m.seconds > 0 for m in found)
    assert len({m.gradient_bytes for m in found}) == 1
    assert "1 thread a rank, float32, torch" in found[0].hardware
    assert "| native_2x | weak | 2 | 8 |" in done.output
    assert (tmp_path / "out" / "scaling.png").is_file()


@pytest.mark.slow
def test_a_rank_reports_in_one_line_why_it_failed(tmp_path):
    out = tmp_path / "absent" / "out"
    done = scaling(str(tmp_path / "none.json"), out, "--ranks", "1")
    assert isinstance(done.exception, OutputError | TrainingError)
    assert f"{out}: cannot be written" in str(done.exception)


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.sh")), ids=lambda path: path.name)
def test_batch_scripts_are_valid_bash(path):
    subprocess.run(["bash", "-n", path], check=True)


def test_the_batch_script_measures_every_size_on_enough_nodes(tmp_path):
    (tmp_path / "srun").write_text('#!/bin/bash\necho "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    variables = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "SLURM_CPUS_PER_TASK": "8",
        "SLURM_NTASKS_PER_NODE": "4",
        "SLURM_JOB_NUM_NODES": "3",
    }
    words = ["native_2x", "s2x", "--train", "mine/*.SAFE", "--out", "plot"]
    done = subprocess.run(
        ["bash", SCRIPTS / "scaling.sh", *words],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    sizes = [(1, 1), (1, 2), (1, 4), (2, 8), (3, 12)]
    job = f"decametre bench scaling {' '.join(words)} --device cuda"
    expected = [f"--nodes={nodes} --ntasks={ranks} {job}" for nodes, ranks in sizes] * 3
    for line, wanted in zip(done.stdout.splitlines(), expected, strict=True):
        assert wanted in line
