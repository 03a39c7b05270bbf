"""Parts of the GPU check that run in one process: networks, windows in flight, equality of runs.

`python -m benchmarks.gpu_windows PRODUCT --networks` prints one JSON document. On a machine
without a GPU, the same measurements run on the CPU.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from decametre.bench.sharpen import full_size_product
from decametre.bench.train import synchronize
from decametre.device import autocast, choose_devices, choose_precision
from decametre.options import DEFAULT_TILE
from decametre.sentinel2.bands import BAND_NAMES, FINEST_GSD
from decametre.sentinel2.opening import open_product
from decametre.superres.models.registry import Model, models_for
from decametre.superres.sharpening.pipeline import sharpen_windows
from decametre.superres.sharpening.sharpener import Sharpener

ROUNDS = 5
"""How often each variant is timed; the median counts."""

IN_FLIGHT = (1, 2, 3)
"""Numbers of windows that one device computes at a time."""

CLASSIFIER_BATCHES = (256, 512)
"""Batch sizes of ResNet-50."""


def median_seconds(work: Callable[[], object], device: torch.device, rounds: int = ROUNDS) -> float:
    """Median time of a call, after one that is not timed."""
    times = []
    for _ in range(rounds + 1):
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def variants(network: nn.Module, device: torch.device) -> Iterator[tuple[str, nn.Module, Any]]:
    """Networks with memory format and compilation: name, network, memory format of the inputs."""
    network = network.to(device)
    yield "contiguous", network, torch.contiguous_format
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    yield "channels_last", network, torch.channels_last
    if device.type == "cuda":
        yield "compiled", torch.compile(network), torch.channels_last
        yield "CUDA graphs", torch.compile(network, mode="reduce-overhead"), torch.channels_last


def inputs_of(model: Model, edge: int, device: torch.device, layout: Any) -> dict[int, Tensor]:
    """Random reflectance of a square of `edge` pixels of 10 m, with the model's margin."""
    edge = edge // model.card.scale * model.card.scale + 2 * model.card.margin * model.card.scale
    return {
        gsd: torch.rand(1, len(names), edge * FINEST_GSD // gsd, edge * FINEST_GSD // gsd).to(
            device, memory_format=layout
        )
        for gsd, names in model.card.bands_in.items()
    }


@torch.inference_mode()
def networks(device: torch.device, edge: int = DEFAULT_TILE) -> list[dict[str, Any]]:
    """Seconds and memory of each shipped network on one window, by precision and variant."""
    found = []
    for model in models_for(BAND_NAMES):
        for precision in (torch.float32, torch.bfloat16):
            for name, network, layout in variants(model.network, device):
                inputs = inputs_of(model, edge, device, layout)

                def forward(network: nn.Module = network, inputs: Any = inputs) -> object:
                    return network(inputs)

                entry = {"model": model.card.name, "precision": str(precision), "variant": name}
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(device)
                try:
                    with autocast(device, precision):
                        entry["ms"] = 1e3 * median_seconds(forward, device)
                except Exception as error:  # a compiler may be missing; the other variants count
                    entry["error"] = " ".join(str(error).split())[:200]
                if device.type == "cuda":
                    entry["GiB"] = torch.cuda.max_memory_allocated(device) / 2**30
                found.append(entry)
                click.echo(json.dumps(entry))  # known even if the process is ended
    return found


def transfers(device: torch.device, megabytes: int = 200) -> dict[str, float]:
    """GB/s from the host to the device and back, for pageable and pinned memory."""
    count, found = megabytes * 250_000, {}
    for name, pinned in (("pageable", False), ("pinned", True)):
        host = torch.rand(count, pin_memory=pinned)
        there = host.to(device)
        seconds = median_seconds(lambda h=host: h.to(device), device)  # type: ignore[misc]
        found[f"{name} to device"] = megabytes / 1e3 / seconds
        seconds = median_seconds(lambda h=host, t=there: h.copy_(t), device)  # type: ignore[misc]
        found[f"{name} from device"] = megabytes / 1e3 / seconds
    return found


def in_flight(source: str, device: torch.device, tile: int = DEFAULT_TILE) -> list[dict[str, Any]]:
    """Seconds to sharpen a product without writing it, by the number of windows in flight."""
    product = open_product(source)
    precision = choose_precision("auto", device)
    found = []
    for count in IN_FLIGHT:
        sharpeners = [
            Sharpener(models_for(BAND_NAMES), BAND_NAMES, device, precision) for _ in range(count)
        ]
        start = time.perf_counter()
        windows = sum(1 for _ in sharpen_windows(product, product.grid.window, sharpeners, tile))
        seconds = time.perf_counter() - start
        found.append({"in flight": count, "windows": windows, "seconds": seconds})
    return found


def classifier(device: torch.device, backbone: str = "resnet50") -> list[dict[str, Any]]:
    """Steps per second of a classifier on random patches, without reading data."""
    import timm

    network = timm.create_model(backbone, num_classes=19, in_chans=12).to(
        device, memory_format=torch.channels_last
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    found = []
    for batch in CLASSIFIER_BATCHES if device.type == "cuda" else (2,):
        images = torch.rand(batch, 12, 120, 120, device=device)
        images = images.contiguous(memory_format=torch.channels_last)

        def step(images: Tensor = images) -> None:
            with autocast(device, choose_precision("auto", device)):
                loss = network(images).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        seconds = median_seconds(step, device)
        found.append({"batch": batch, "steps_per_second": 1 / seconds, "images/s": batch / seconds})
    return found


def largest_differences(runs: Mapping[str, Path]) -> dict[str, float]:
    """Largest difference of the weights of each run from the first one, over the largest weight."""
    first, *others = (load_file(path) for path in runs.values())
    scale = max(float(weights.abs().max()) for weights in first.values())
    return {
        name: max(float((other[key] - first[key]).abs().max()) for key in first) / scale
        for name, other in zip(list(runs)[1:], others, strict=True)
    }


@click.command()
@click.argument("product", required=False)
@click.option("--networks", "what", flag_value="networks")
@click.option("--in-flight", "what", flag_value="in-flight")
@click.option("--classifier", "what", flag_value="classifier")
@click.option("--compare", type=click.Path(path_type=Path))
@click.option("--size", default=720)
@click.option("--cache", type=click.Path(path_type=Path), default=Path())
def main(
    product: str | None, what: str | None, compare: Path | None, size: int, cache: Path
) -> None:
    """Run one part of the GPU check."""
    device = choose_devices("auto")[0]
    result: Any
    if compare:
        runs = {path.parent.name: path for path in sorted(compare.glob("*/weights.safetensors"))}
        result = largest_differences(runs)
    elif what == "in-flight":
        result = in_flight(str(full_size_product(str(product), cache, size)), device)
    elif what == "classifier":
        result = classifier(device)
    else:
        result = {"networks": networks(device)}
        if device.type == "cuda":
            result["transfers_GB_per_s"] = transfers(device)
    click.echo(json.dumps(result))


if __name__ == "__main__":
    main()
