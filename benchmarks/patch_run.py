"""A measured run over the patches of a tile, for the benchmarks `patches` and `predict`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class PatchRun:
    """Patches that were cut or classified, usually by a separate process.

    Attributes:
        name: What was done, with which images.
        patches: Number of patches.
        seconds: From start to end, the start of Python included.
        cpu_seconds: CPU time of the process and its children.
        peak_memory_gb: Largest memory of all its processes together, shared pages counted once, in
            1e9 bytes; 0 if it was not measured.
        written_gb: Size of the output in 1e9 bytes; 0 if it was not measured.
    """

    name: str
    patches: int
    seconds: float
    cpu_seconds: float
    peak_memory_gb: float = 0.0
    written_gb: float = 0.0

    @property
    def rate(self) -> float:
        """Patches per second."""
        return self.patches / self.seconds

    def to_dict(self) -> dict[str, Any]:
        """The run as JSON."""
        return asdict(self) | {"patches_per_second": self.rate}
