"""The operators. They are generated from ``ops_yaml``; this module adds what YAML cannot say."""

from scipy.linalg import cython_blas  # MindSpore depends on SciPy, which exports its BLAS to C

from ms_moe_comm import _lib
from ms_moe_comm._generated.gen_ops_def import (
    moe_decode_combine,
    moe_decode_dispatch,
    moe_prefill_combine,
    moe_prefill_dispatch,
)
from ms_moe_comm._generated.gen_ops_def import moe_grouped_matmul as _grouped_matmul
from ms_moe_comm._generated.gen_ops_def import moe_grouped_matmul_out as _grouped_matmul_out

_lib.set_sgemm(cython_blas.__pyx_capi__["sgemm"])

__all__ = [
    "moe_decode_combine",
    "moe_decode_dispatch",
    "moe_grouped_matmul",
    "moe_prefill_combine",
    "moe_prefill_dispatch",
]


def moe_grouped_matmul(x, weight, group_list, out=None, group_list_type=1):
    """Multiplies each group of consecutive rows with its own matrix: ``y[m] = x[m] @ weight[group of m]``.

    fp32 accumulation and one rounding. On CPU the bits of a row do not depend on how many other rows there are.

    Args:
        x (Tensor): [M, K] bfloat16, float16 or float32, rows sorted by group.
        weight (Tensor): [E, K, N], dtype of `x`.
        group_list (Tensor): [E] int64. Empty groups, and a sum below M, are legal.
        out (Tensor, optional): [M, N], dtype of `x`: written in place and returned, e.g. ``window.outputs``, from
            where combine reads without a copy. Default: a new tensor.
        group_list_type (int): 1 if `group_list` holds counts, 0 if inclusive cumulative sums. Default: 1.

    Returns:
        Tensor, [M, N]. Rows past the last group are not written.

    Raises:
        TypeError: dtypes other than these, or not equal.
        ValueError: shapes that do not fit, or a `group_list` that exceeds M or decreases.
    """
    if out is None:
        return _grouped_matmul(x, weight, group_list, group_list_type)
    return _grouped_matmul_out(x, weight, group_list, out, group_list_type)
