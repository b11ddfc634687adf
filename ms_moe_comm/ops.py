"""The operators. They are generated from ``ops_yaml``; this module adds what YAML cannot say."""

import mindspore as ms
from mindspore import Tensor
from mindspore.common.dtype import Type
from scipy.linalg import cython_blas  # MindSpore depends on SciPy, which exports its BLAS to C

from ms_moe_comm import _lib
from ms_moe_comm._generated.gen_ops_def import (
    moe_decode_combine,
    moe_decode_dispatch,
    moe_dynamic_quant,
    moe_prefill_combine,
    moe_prefill_dispatch,
)
from ms_moe_comm._generated.gen_ops_def import moe_grouped_matmul as _grouped_matmul
from ms_moe_comm._generated.gen_ops_def import moe_grouped_matmul_out as _grouped_matmul_out
from ms_moe_comm._generated.gen_ops_def import moe_grouped_matmul_quant as _grouped_matmul_quant
from ms_moe_comm._generated.gen_ops_def import moe_grouped_matmul_quant_out as _grouped_matmul_quant_out
from ms_moe_comm.dtypes import ALL_NAMES, code_of

SAME_DTYPE = -1  # that of the tensor it follows

_lib.set_sgemm(cython_blas.__pyx_capi__["sgemm"])

__all__ = [
    "moe_decode_combine",
    "moe_decode_dispatch",
    "moe_dynamic_quant",
    "moe_grouped_matmul",
    "moe_grouped_matmul_quant",
    "moe_prefill_combine",
    "moe_prefill_dispatch",
]


def moe_grouped_matmul(x: Tensor, weight: Tensor, group_list: Tensor, out: Tensor | None = None,
                       group_list_type: int = 1) -> Tensor:
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


def moe_grouped_matmul_quant(x: Tensor, weight: Tensor, group_list: Tensor, scale: Tensor, per_token_scale: Tensor,
                             bias: Tensor | None = None, out: Tensor | None = None, output_dtype: Type | None = None,
                             group_list_type: int = 1) -> Tensor:
    """The grouped matmul of int8 rows and int8 weights (W8A8), exact in int32 and dequantised.

    ``y[m] = float32(x[m] @ weight[e] + bias[e]) * scale[e] * per_token_scale[m]`` for the group e of row m: one
    rounding for each multiplication, in this order, and one to the result's dtype. A NaN in `per_token_scale` (a row
    that held NaN or infinity when it was quantised) makes its row NaN.

    Args:
        x (Tensor): [M, K] or [M, K rounded up to 32] int8, rows sorted by group; columns past K do not count.
        weight (Tensor): [E, K, N] int8, K at most 132104. Then the sum is exact, unless both a row and a weight reach
            -128 (a quantised row does not).
        group_list (Tensor): [E] int64. Empty groups, and a sum below M, are legal.
        scale (Tensor): [E, N] float32 or bfloat16, of the weights' columns.
        per_token_scale (Tensor): [M] float32, of the rows: what dispatch and :func:`moe_dynamic_quant` return.
        bias (Tensor, optional): [E, N] int32, added to the sum, which wraps past int32.
        out (Tensor, optional): [M, N]: written in place and returned, e.g. ``window.outputs``, from where combine reads
            without a copy. Default: a new tensor.
        output_dtype (mindspore.dtype, optional): of the new tensor; with `out`, which has a dtype, it must be None.
            float32, float16 or bfloat16 with a float32 `scale`, bfloat16 with a bfloat16 `scale`. On Ascend only
            float16 with a float32 `scale` and bfloat16 with a bfloat16 `scale`, as CANN offers. Default: bfloat16.
        group_list_type (int): 1 if `group_list` holds counts, 0 if inclusive cumulative sums. Default: 1.

    Returns:
        Tensor, [M, N]. Rows past the last group are not written.

    Raises:
        TypeError: dtypes other than these.
        ValueError: shapes that do not fit, a `group_list` that exceeds M or decreases, or `output_dtype` with `out`.
    """
    if out is not None:
        if output_dtype is not None:
            raise ValueError("For 'moe_grouped_matmul_quant', 'output_dtype' must be None with 'out', whose dtype the "
                             f"result has, but got {output_dtype}.")
        return _grouped_matmul_quant_out(x, weight, group_list, scale, per_token_scale, out, bias, group_list_type)
    code = dtype_code("moe_grouped_matmul_quant", "output_dtype", output_dtype, code_of(ms.bfloat16))
    return _grouped_matmul_quant(x, weight, group_list, scale, per_token_scale, bias, code, group_list_type)


def dtype_code(op: str, name: str, dtype: Type | None, default: int) -> int:
    """The code of `dtype`, the argument `name` of `op`; `default` if it is None."""
    if dtype is None:
        return default
    code = code_of(dtype) if isinstance(dtype, Type) else -1  # otherwise `==` may compare an array
    if code >= 0:
        return code
    given = dtype if isinstance(dtype, (Type, type)) else type(dtype)
    raise TypeError(f"For '{op}', '{name}' must be {ALL_NAMES}, but got {given}.")
