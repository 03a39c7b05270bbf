"""The one place where a loss becomes a gradient."""

from __future__ import annotations

from torch import Tensor


def backward(loss_sum: Tensor, count: Tensor) -> None:
    """Add to every weight the gradient of the mean loss over the global batch.

    Args:
        loss_sum: Sum of the losses of all pixels (or labels) that count.
        count: How many they are. A batch without any has gradient 0.
    """
    (loss_sum / count.clamp(min=1)).backward()  # type: ignore[no-untyped-call]
