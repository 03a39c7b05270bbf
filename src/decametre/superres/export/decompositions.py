"""Operators that ONNX or its runtimes lack, in terms of operators that they have.

`torch.export` replaces an operator by the function that is registered for it, so the networks
themselves do not change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def solve_by_elimination(
    matrix: Tensor, right: Tensor, *, left: bool = True, check_errors: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Solve systems of linear equations by Gauss-Jordan elimination without pivoting.

    This is accurate for the ridge regressions of `regression.py`: their matrices are symmetric and
    positive definite. ONNX has no operator for it.

    Args:
        matrix: (..., n, n), symmetric and positive definite.
        right: (..., n, columns).
        left: The matrix is the left factor; nothing else is implemented.
        check_errors: Ignored.

    Returns:
        The results of `torch.ops.aten._linalg_solve_ex`; only the first, the solution, is valid.
    """
    assert left
    size = matrix.shape[-1]
    rows = torch.cat([matrix, right], dim=-1)
    others = 1 - torch.eye(size, dtype=matrix.dtype, device=matrix.device)
    for step in range(size):
        pivot = rows[..., step : step + 1, :]
        factor = rows[..., step : step + 1] / pivot[..., step : step + 1]
        rows = rows - factor * others[:, step : step + 1] * pivot
    diagonal = rows[..., :size].diagonal(dim1=-2, dim2=-1)
    placeholder = torch.zeros(matrix.shape[:-1], dtype=torch.int32, device=matrix.device)
    return rows[..., size:] / diagonal[..., None], matrix, placeholder, placeholder[..., 0]


def mean_of_shifts(
    image: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """`avg_pool2d` of stride 1 in float64 as a sum of shifted images.

    onnxruntime pools in float32 only, which is too coarse for the variances in `regression.py`.
    Other poolings remain as they are.
    """
    edges = [kernel_size[0], kernel_size[-1]]
    if image.dtype != torch.float64 or list(stride) not in ([1], [1, 1]):
        return NotImplemented
    assert count_include_pad
    assert not ceil_mode
    beyond = [padding[0], padding[-1]]
    rows, columns = image.shape[-2] + 2 * beyond[0], image.shape[-1] + 2 * beyond[1]
    image = F.pad(image, [beyond[1], beyond[1], beyond[0], beyond[0]])
    lengths = rows - edges[0] + 1, columns - edges[1] + 1
    total = sum(image[..., shift : shift + lengths[0], :] for shift in range(edges[0]))
    assert isinstance(total, Tensor)
    total = sum(total[..., shift : shift + lengths[1]] for shift in range(edges[1]))
    return total / (divisor_override or edges[0] * edges[1])


def solve_ex(
    matrix: Tensor, right: Tensor, *, left: bool = True, check_errors: bool = False
) -> tuple[Tensor, Tensor]:
    """`torch.linalg.solve_ex` by `solve_by_elimination`."""
    solution, _, _, info = solve_by_elimination(matrix, right, left=left, check_errors=check_errors)
    return solution, info


DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.linalg_solve_ex.default: solve_ex,
    torch.ops.aten._linalg_solve_ex.default: solve_by_elimination,
    torch.ops.aten.avg_pool2d.default: mean_of_shifts,
}
"""By operator, the function that replaces it in an export."""
