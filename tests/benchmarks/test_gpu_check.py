"""The decisions of the GPU check, with fakes in place of a GPU and of processes."""

import json

import pytest
import torch
from safetensors.torch import save_file

from benchmarks import gpu_check, gpu_windows
from benchmarks.gpu_check import Part, PartResult, check, result_of, run_part, samples_of
from decametre.superres.models.registry import load_model


class Machine:
    """Runs parts in no time and moves its clock by what they would take."""

    def __init__(self, seconds):
        self.now, self.seconds, self.limits = 100.0, seconds, {}

    def clock(self):
        return self.now

    def run(self, part, limit):
        self.limits[part.name] = limit
        used = min(self.seconds[part.name], limit)
        self.now += used
        status = "ok" if used < limit else "timeout"
        return PartResult(part.name, status, used, {"answer": 42}, [(80.0, 2048.0), (0.0, 512.0)])


def test_every_result_is_written_and_the_time_is_kept(tmp_path):
    machine = Machine({"a": 30, "b": 500, "c": 10, "d": 5})
    parts = [Part("a", (), 50), Part("b", (), 60), Part("c", (), 50), Part("d", (), 50, least=5)]
    results = check(parts, tmp_path, machine.run, seconds=100, clock=machine.clock)
    assert [each.status for each in results] == ["ok", "timeout", "skipped", "ok"]
    assert machine.limits == {"a": 50, "b": 60, "d": 10}
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["a", "b", "c", "d"]
    report = (tmp_path / "gpu.md").read_text()
    assert "| a | ok | 30 s | 40 %, idle 50%, 2.0 GiB |" in report
    assert '"answer": 42' in report


def test_a_result_is_there_before_the_next_part_begins(tmp_path):
    found = []

    def run(part, limit):
        log = tmp_path / "results.jsonl"
        found.append(len(log.read_text().splitlines()) if log.exists() else 0)
        return PartResult(part.name, "ok")

    check([Part(name, (), 50) for name in "abc"], tmp_path, run)
    assert found == [0, 1, 2]


def test_the_parts_fit_in_the_time_that_they_need_at_least(tmp_path):
    parts = gpu_check.parts_for("item.json", tmp_path, 5490, tmp_path)
    assert sum(part.least for part in parts) < gpu_check.SECONDS
    assert len({part.name for part in parts}) == len(parts)
    assert parts[1].name == "GPU tests"


@pytest.mark.parametrize(
    ("program", "status", "result"),
    [
        ("print('log'); print('{\"a\": 1}')", "ok", {"a": 1}),
        ("print('plain')", "ok", "plain"),
        ("raise SystemExit('no GPU')", "failed", "no GPU"),
    ],
)
def test_a_part_is_a_process(monkeypatch, program, status, result):
    monkeypatch.setattr(gpu_check.shutil, "which", lambda name: None)
    found = run_part(Part("x", ("-c", program), 60), 60)
    assert (found.status, found.result, found.gpu) == (status, result, [])


def test_a_part_that_is_too_slow_is_ended_with_its_children(monkeypatch):
    killed = []

    class Slow:
        pid, returncode = 1234, -9

        def __init__(self, command, start_new_session, **options):
            assert start_new_session

        def communicate(self, timeout=None):
            if not killed:
                raise gpu_check.subprocess.TimeoutExpired("x", timeout)
            return "so far\n", None

    monkeypatch.setattr(gpu_check.shutil, "which", lambda name: None)
    monkeypatch.setattr(gpu_check.subprocess, "Popen", Slow)
    monkeypatch.setattr(gpu_check.os, "killpg", lambda *what: killed.append(what))
    found = run_part(Part("x", (), 1), 1)
    assert (found.status, found.result) == ("timeout", "so far")
    assert killed == [(1234, gpu_check.signal.SIGKILL)]


def test_results_and_samples_are_read():
    assert result_of('{"a": 1}\n{"b":\n 2}\n', "ok") == {"b": 2}
    assert result_of("x\n" * 50, "failed").count("x") == gpu_check.KEPT_LINES
    assert samples_of("97, 1024\n[N/A], 3\n0, 5\n") == [(97.0, 1024.0), (0.0, 5.0)]


def test_weights_of_runs_are_compared(tmp_path):
    runs = {}
    for name, change in (("one", 0.0), ("three", 0.02)):
        runs[name] = tmp_path / f"{name}.safetensors"
        save_file({"w": torch.tensor([1.0, -2.0 + change])}, runs[name])
    assert gpu_windows.largest_differences(runs) == {"three": pytest.approx(0.01, rel=1e-3)}


def test_networks_are_timed_on_any_device(monkeypatch, capsys):
    monkeypatch.setattr(gpu_windows, "ROUNDS", 1)
    monkeypatch.setattr(gpu_windows, "models_for", lambda bands: [load_model("bicubic_2x")])
    found = gpu_windows.networks(torch.device("cpu"), edge=60)
    assert [each["variant"] for each in found] == ["contiguous", "channels_last"] * 2
    assert all(each["ms"] > 0 for each in found)
    assert len(capsys.readouterr().out.splitlines()) == 4
