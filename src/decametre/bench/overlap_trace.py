"""Where a trace of torch's profiler shows back-propagation, and the exchange of gradients.

The trace is in Chrome's format. On the processor, the autograd engine names every operation of
back-propagation that it runs, and gloo every sum over ranks, from when a thread of its own begins
with it until its end. On a GPU, what counts are the kernels: those whose launch lies within such an
operation of the engine, and those of nccl.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from decametre.bench.spans import Span, common, length, union

GRADIENT = "decametre: gradient"
"""Marks the making of a gradient in a trace: all passes of a step, and the exchange."""

STEP = "ProfilerStep#"
ENGINE = "autograd::engine::evaluate_function: "
ON_GPU = {"kernel", "gpu_memcpy", "gpu_memset"}
LAUNCHES = {"cuda_runtime", "cuda_driver"}


@dataclass(frozen=True)
class StepTimes:
    """What a step of one rank took, in milliseconds.

    Attributes:
        step: All of it, with drawing samples and the optimizer.
        backward: Back-propagation.
        exchange: Of gradients, with waiting for ranks that come later.
        overlapped: Of that, while back-propagation still ran.
        buckets: Each sum over ranks, in their order.
    """

    step: float
    backward: float
    exchange: float
    overlapped: float
    buckets: tuple[float, ...]

    @property
    def exposed(self) -> float:
        """Of the exchange, when back-propagation did not run."""
        return self.exchange - self.overlapped


@dataclass(frozen=True)
class Step:
    """Where the time of a step went, in milliseconds from its begin.

    Attributes:
        length: All of the step.
        gradient: Making the gradient.
        backward: Back-propagation, as spans in order.
        exchange: Each sum of gradients over ranks, in their order.
    """

    length: float
    gradient: Span
    backward: Sequence[Span]
    exchange: Sequence[Span]

    def times(self) -> StepTimes:
        """How long each took."""
        return StepTimes(
            step=self.length,
            backward=length(self.backward),
            exchange=length(self.exchange),
            overlapped=length(common(self.exchange, self.backward)),
            buckets=tuple(end - begin for begin, end in self.exchange),
        )


def steps_of(trace: Mapping[str, Any]) -> list[Step]:
    """The whole steps in a trace.

    Args:
        trace: In Chrome's format; times are microseconds.
    """
    events = [event for event in trace["traceEvents"] if event.get("ph") == "X"]
    steps = sorted(_span(event) for event in events if event["name"].startswith(STEP))
    gradients = sorted(_span(event) for event in events if event["name"] == GRADIENT)
    engine = [_span(event) for event in events if event["name"].startswith(ENGINE)]
    launched = {
        event["args"]["correlation"]: float(event["ts"])
        for event in events
        if event.get("cat", "").lower() in LAUNCHES and "correlation" in event.get("args", {})
    }
    kernels = [
        (launched[event["args"]["correlation"]], event["name"], _span(event))
        for event in events
        if event.get("cat", "").lower() in ON_GPU
        and event.get("args", {}).get("correlation") in launched
    ]
    sums = [(span[0], span) for event in events if _by_gloo(event) for span in [_span(event)]]
    sums += [(at, span) for at, name, span in kernels if name.startswith("nccl")]
    found = []
    for gradient in gradients:
        step = next((step for step in steps if _holds(step, gradient[0])), None)
        passes = union(span for span in engine if _holds(gradient, span[0]))
        if step is None or not passes:
            continue
        backward = union(
            span
            for at, name, span in kernels
            if not name.startswith("nccl") and _within(passes, at)
        )
        # Earlier in it, the ranks exchange how many losses they have.
        gradients_begin = passes[0][0]
        exchange = sorted(
            span for at, span in sums if gradients_begin <= at and _holds(gradient, at)
        )
        found.append(
            Step(
                length=(step[1] - step[0]) / 1000,
                gradient=_since(step[0], gradient),
                backward=[_since(step[0], span) for span in backward or passes],
                exchange=[_since(step[0], span) for span in exchange],
            )
        )
    return found


def _by_gloo(event: Mapping[str, Any]) -> bool:
    return event.get("cat") == "user_annotation" and event["name"].startswith("gloo:")


def _span(event: Mapping[str, Any]) -> Span:
    begin = float(event["ts"])
    return begin, begin + float(event["dur"])


def _holds(span: Span, at: float) -> bool:
    return span[0] <= at < span[1]


def _within(spans: Sequence[Span], at: float) -> bool:
    """Whether a time is in one of some spans, which are in order."""
    before = bisect_right(spans, (at, float("inf")))
    return before > 0 and _holds(spans[before - 1], at)


def _since(begin: float, span: Span) -> Span:
    return (span[0] - begin) / 1000, (span[1] - begin) / 1000
