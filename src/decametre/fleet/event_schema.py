"""The fields of the events in a journal that status, report and plan read; others may follow."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

Time = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
"""Seconds since 1970."""

Count = Annotated[int, Field(ge=0, le=10**18)]


class _Event(TypedDict):
    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]

    time: Time


class _Other(_Event):
    event: str


class _Run(_Event):
    event: Literal["run"]
    verb: str
    command: str
    version: str
    settings: dict[str, Any]
    products: Count
    done_before: Count
    cluster: str
    dashboard: str | None


class _Worker(_Event):
    event: Literal["worker"]
    worker: str
    name: str | int
    host: str
    threads: Count
    memory: Count
    gpus: Count
    joined: bool


class _Beat(_Event):
    event: Literal["beat"]
    running: Count


class _Residual(TypedDict):
    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]

    rmse_dn: Annotated[float, Field(allow_inf_nan=False)] | None


class _Found(_Event):
    event: Literal["done"]
    already: Literal[True]


class _Done(_Event):
    event: Literal["done"]
    already: Literal[False]
    name: str
    item: str
    worker: str | None
    device: str
    attempt: Count
    start: Time
    end: Time
    stages: dict[str, Annotated[float, Field(allow_inf_nan=False)]]
    pixels: Count
    bytes_in: Count
    bytes_out: Count
    consistency: dict[str, _Residual]
    quicklook: str | None


class _Failed(_Event):
    event: Literal["failed"]
    name: str
    source: str
    stage: str
    reason: str
    attempt: Count
    final: bool
    worker: str | None
    start: Time | None
    end: Time | None


class _Ended(_Event):
    event: Literal["ended"]
    status: Literal["complete", "failures", "interrupted", "lost"]


_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    "run": TypeAdapter(_Run),
    "worker": TypeAdapter(_Worker),
    "beat": TypeAdapter(_Beat),
    "done": TypeAdapter(Annotated[_Found | _Done, Field(discriminator="already")]),
    "failed": TypeAdapter(_Failed),
    "ended": TypeAdapter(_Ended),
}


_OTHER: TypeAdapter[Any] = TypeAdapter(_Other)


def check_event(event: Any) -> None:
    """Check an event; one of an unknown kind only needs its name and time.

    Raises:
        ValueError: It is not an event, or a field is missing or has another type.
    """
    kind = event.get("event") if isinstance(event, dict) else None
    try:
        _ADAPTERS.get(kind if isinstance(kind, str) else "", _OTHER).validate_python(event)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise ValueError(f"{place}: {fault['msg']}") from error
