"""moe_grouped_matmul against numpy in fp64, with both forms of its list; a row's bits depend on that row alone."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor

from ms_moe_comm import moe_grouped_matmul, reference
from tensors import DTYPES, to_numpy


@pytest.fixture(autouse=True)
def pynative_mode():
    ms.set_context(mode=ms.PYNATIVE_MODE)


def operands(groups, inner, columns, dtype, rows=None, seed=0):
    rng = np.random.default_rng(seed)
    rows = sum(groups) if rows is None else rows
    x = reference.round_to(rng.standard_normal((rows, inner), np.float32), dtype)
    weight = reference.round_to(rng.standard_normal((len(groups), inner, columns), np.float32), dtype)
    return x, weight


@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("groups", [[3, 0, 2], [0, 0, 0], [1], [40, 17, 0, 16]])
@pytest.mark.parametrize("list_type", [0, 1])
def test_against_fp64(dtype, groups, list_type):
    inner, columns, spare = 64, 48, 3
    total = sum(groups)
    x, weight = operands(groups, inner, columns, dtype, total + spare)
    of_row = np.repeat(np.arange(len(groups)), groups)
    exact = np.einsum("mk,mkn->mn", x[:total].astype(np.float64), weight[of_row].astype(np.float64))
    group_list = np.array(groups if list_type == 1 else np.cumsum(groups), np.int64)
    out = Parameter(Tensor(np.full((total + spare, columns), np.nan), DTYPES[dtype]), requires_grad=False)
    y = moe_grouped_matmul(Tensor(x).astype(DTYPES[dtype]), Tensor(weight).astype(DTYPES[dtype]), Tensor(group_list),
                           out, list_type)
    y = to_numpy(y)
    # plain fp32 has an error, too: ours may be larger by a small factor, plus the rounding to the dtype
    plain = np.einsum("mk,mkn->mn", x[:total], weight[of_row])
    magnitude = np.einsum("mk,mkn->mn", np.abs(x[:total]), np.abs(weight[of_row]))
    half_ulp = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    bound = 4 * np.abs(plain - exact) + magnitude * inner * 2.0**-24 / 4 + np.abs(exact) * half_ulp * 1.01 + 2.0**-25
    assert (np.abs(y[:total] - exact) <= bound).all()
    assert np.isnan(y[total:]).all(), "a row past the last group was written"


@pytest.mark.parametrize("dtype", list(DTYPES))
def test_bits_of_a_row_do_not_depend_on_the_other_rows(dtype):
    x, weight = operands([70, 1], 96, 80, dtype)
    arguments = Tensor(weight).astype(DTYPES[dtype])

    def rows(begin, end):
        groups = Tensor(np.array([end - begin, 0], np.int64))
        return to_numpy(moe_grouped_matmul(Tensor(x[begin:end].copy()).astype(DTYPES[dtype]), arguments, groups))

    whole = rows(0, 70)
    for begin, end in ((0, 1), (5, 6), (13, 30), (69, 70), (1, 70)):
        np.testing.assert_array_equal(rows(begin, end).view(np.uint32), whole[begin:end].view(np.uint32))


def test_lists_that_do_not_fit_are_refused():
    """Field report 11 (sgl-kernel-npu PR 49, 221): sums where counts are expected, and the switch itself."""
    x, weight = operands([2, 2], 16, 16, "float32")
    with pytest.raises(ValueError, match="'x' has 4 rows. Is it of another group_list_type"):
        moe_grouped_matmul(Tensor(x), Tensor(weight), Tensor(np.array([2, 4], np.int64))).asnumpy()
    with pytest.raises(ValueError, match="'group_list_type' must be 0 or 1, but got 2"):
        moe_grouped_matmul(Tensor(x), Tensor(weight), Tensor(np.array([2, 2], np.int64)), None, 2).asnumpy()
    with pytest.raises(TypeError, match="'x' and 'weight' must have the same dtype"):
        moe_grouped_matmul(Tensor(x), Tensor(weight).astype(ms.float16), Tensor(np.array([2, 2], np.int64))).asnumpy()
