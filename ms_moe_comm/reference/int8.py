"""int8 rows: their quantisation and their matmul."""

import numpy as np
from numpy.typing import NDArray

from ms_moe_comm.reference.rounding import round_to


def quantise_rows(x: NDArray[np.float32],
                  smooth: NDArray[np.float32] | None = None) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Each row as int8 with a scale of its own: the largest magnitude m becomes 127.

    Every operation is rounded to fp32, and the quotient to an integer, half to even. A row with a NaN or an infinity
    gives zeros and the scale NaN. A row with m below 2^-119, whose scale would be denormal, gives zeros and scale 0.

    Args:
        x (numpy.ndarray): [M, H] float32.
        smooth (numpy.ndarray, optional): [H] or [M, H] float32 factors.

    Returns:
        tuple of numpy.ndarray: [M, H] int8, and [M] float32, the factors that undo the quantisation.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        values = x if smooth is None else x * smooth
        largest = np.abs(values).max(axis=1)
        finite = np.isfinite(largest)
        regular = finite & (largest >= np.float32(2.0**-119))
        factor = np.float32(127) / np.where(regular, largest, np.float32(1))
        steps = np.where(regular[:, None], np.rint(values * factor[:, None]), 0)
        scale = np.where(regular, largest / np.float32(127), np.where(finite, np.float32(0), np.float32(np.nan)))
    return steps.astype(np.int8), scale


def grouped_matmul_int8(x: NDArray[np.int8], weight: NDArray[np.int8], groups: list[int], scale: NDArray[np.float32],
                        per_token_scale: NDArray[np.float32], dtype: str,
                        bias: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
    """The W8A8 matmul of :func:`ms_moe_comm.moe_grouped_matmul_quant`, group by group.

    Args:
        x (numpy.ndarray): [M, K] int8, rows sorted by group.
        weight (numpy.ndarray): [E, K, N] int8.
        groups (list[int]): [E] rows of each group.
        scale (numpy.ndarray): [E, N] float32 (exact values of its dtype).
        per_token_scale (numpy.ndarray): [M] float32.
        dtype (str): of the result, see :func:`round_to`.
        bias (numpy.ndarray, optional): [E, N] int32.

    Returns:
        numpy.ndarray, [sum of `groups`, N] float32.
    """
    results, begin = [], 0
    for group, rows in enumerate(groups):
        end = begin + rows
        total = x[begin:end].astype(np.int32) @ weight[group].astype(np.int32)
        if bias is not None:
            total = total + bias[group]
        results.append(total.astype(np.float32) * scale[group] * per_token_scale[begin:end, None])
        begin = end
    return round_to(np.concatenate(results), dtype)
