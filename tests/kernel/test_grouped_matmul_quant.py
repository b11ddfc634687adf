"""moe_grouped_matmul_quant against numpy, to the bit, and what it refuses."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from ms_moe_comm import moe_grouped_matmul_quant, reference
from tensors import DTYPES, to_numpy

# scale, result: every pair that the operator accepts
PAIRS = [("bfloat16", "bfloat16"), ("float32", "bfloat16"), ("float32", "float16"), ("float32", "float32")]


@pytest.fixture(autouse=True)
def pynative_mode():
    ms.set_context(mode=ms.PYNATIVE_MODE)


def operands(groups, inner, columns, scale_dtype, spare=0, seed=0):
    """x, weight, scale, per_token_scale, bias in numpy; results span 2^-10 to 2^10 and more than 24 bits of sums."""
    rng = np.random.default_rng(seed)
    rows, experts = sum(groups) + spare, len(groups)
    x = rng.integers(-127, 128, (rows, inner), np.int8)
    weight = rng.integers(-128, 128, (experts, inner, columns), np.int8)
    x[rng.random(rows) < 0.3] = 127  # with weights of one sign: the largest sums
    weight[rng.random((experts, inner, columns)) < 0.5] = -128
    scale = reference.round_to(np.exp2(rng.uniform(-12, -4, (experts, columns))).astype(np.float32), scale_dtype)
    per_token_scale = np.exp2(rng.uniform(-12, -4, rows)).astype(np.float32)
    bias = rng.integers(-2**20, 2**20, (experts, columns), np.int32)
    return x, weight, scale, per_token_scale, bias


class Matmul(nn.Cell):
    """The operator as a graph or as a plain call, depending on the mode."""

    def __init__(self, output_dtype=None, group_list_type=1):
        super().__init__()
        self.output_dtype = output_dtype
        self.group_list_type = group_list_type

    def construct(self, x, weight, group_list, scale, per_token_scale, bias=None, out=None):
        return moe_grouped_matmul_quant(x, weight, group_list, scale, per_token_scale, bias, out, self.output_dtype,
                                        self.group_list_type)


def assert_same_bits(actual, expected):
    """Compares all bits, but only whether a value is NaN."""
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(np.signbit(actual)[expected == 0], np.signbit(expected)[expected == 0])


@pytest.mark.parametrize("scale_dtype, dtype", PAIRS)
@pytest.mark.parametrize("groups", [[3, 0, 2], [0, 0, 0], [1], [40, 17, 0, 16]], ids=str)
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("list_type", [0, 1])
def test_bits_of_the_reference(scale_dtype, dtype, groups, with_bias, list_type):
    """Field report 25 (afd-plugin 210): one of the cases has only empty groups."""
    inner, columns, spare, total = 1050, 1100, 3, sum(groups)
    x, weight, scale, per_token_scale, bias = operands(groups, inner, columns, scale_dtype, spare)
    per_token_scale[total // 2] = np.nan
    x[total // 2] = 0  # a row with NaN is quantised to zeros
    expected = reference.grouped_matmul_int8(x, weight, groups, scale, per_token_scale, dtype,
                                             bias if with_bias else None)
    stride = 1056  # inner rounded up to 32
    padded = np.full((total + spare, stride), 77, np.int8)
    padded[:, :inner] = x
    group_list = Tensor(np.array(groups if list_type == 1 else np.cumsum(groups), np.int64))
    arguments = (Tensor(weight), group_list, Tensor(scale).astype(DTYPES[scale_dtype]), Tensor(per_token_scale),
                 Tensor(bias) if with_bias else None)
    for mode in (ms.PYNATIVE_MODE, ms.GRAPH_MODE):
        ms.set_context(mode=mode)
        fresh = Matmul(DTYPES[dtype], list_type)(Tensor(padded), *arguments)
        assert fresh.dtype == DTYPES[dtype] and fresh.shape == (total + spare, columns)
        assert_same_bits(to_numpy(fresh)[:total], expected)
        poison = 3.0
        out = Parameter(Tensor(np.full(fresh.shape, poison), DTYPES[dtype]), requires_grad=False, name="out")
        y = to_numpy(Matmul(None, list_type)(Tensor(x), *arguments, out))
        assert_same_bits(y[:total], expected)
        assert (y[total:] == poison).all(), "a row past the last group was written"
        np.testing.assert_array_equal(to_numpy(out), y)
        assert np.isnan(y[total // 2]).all() or total == 0


def test_without_output_dtype_the_result_is_bfloat16():
    x, weight, scale, per_token_scale, _ = operands([2], 32, 16, "float32")
    y = moe_grouped_matmul_quant(Tensor(x), Tensor(weight), Tensor(np.array([2])), Tensor(scale),
                                 Tensor(per_token_scale))
    assert y.dtype == ms.bfloat16
    assert_same_bits(to_numpy(y), reference.grouped_matmul_int8(x, weight, [2], scale, per_token_scale, "bfloat16"))


def test_the_longest_sums_are_exact():
    inner = 132104
    ones = Tensor(np.ones((1, 2), np.float32))
    weight = np.full((1, inner, 2), -128, np.int8)
    weight[0, 0] = [-127, 127]  # sums near -2^31 whose last digit shows in float32 or not at all
    x = np.full((1, inner), 127, np.int8)
    y = moe_grouped_matmul_quant(Tensor(x), Tensor(weight), Tensor(np.array([1])), ones, Tensor(np.ones(1, np.float32)),
                                 output_dtype=ms.float32).asnumpy()
    exact = x.astype(np.int64) @ weight[0].astype(np.int64)
    assert exact.min() > -2**31
    np.testing.assert_array_equal(y, exact.astype(np.float32))


def refused(error, message, groups=(2, 2), inner=40, columns=16, scale_dtype="float32", **changes):
    """Calls the operator with operands that fit, except for `changes`."""
    x, weight, scale, per_token_scale, bias = operands(groups, inner, columns, "float32")
    arguments = {"x": Tensor(x), "weight": Tensor(weight), "group_list": Tensor(np.array(groups, np.int64)),
                 "scale": Tensor(scale).astype(DTYPES[scale_dtype]), "per_token_scale": Tensor(per_token_scale),
                 "bias": Tensor(bias)}
    moe_grouped_matmul_quant(**arguments).asnumpy()  # without changes they fit
    with pytest.raises(error, match=message):
        moe_grouped_matmul_quant(**{**arguments, **changes}).asnumpy()


def zeros(*shape, dtype=ms.float32):
    return Tensor(np.zeros(shape), dtype)


@pytest.mark.parametrize("error, message, changes", [
    (TypeError, "the dtype of 'x' must be int8, but got float32", {"x": zeros(4, 40)}),
    (TypeError, "the dtype of 'weight' must be int8, but got float16", {"weight": zeros(2, 40, 16, dtype=ms.float16)}),
    (TypeError, "'scale' must be one of float32, bfloat16, but got UInt64", {"scale": zeros(2, 16, dtype=ms.uint64)}),
    (TypeError, "'per_token_scale' must be float32", {"per_token_scale": zeros(4, dtype=ms.bfloat16)}),
    (TypeError, "the dtype of 'bias' must be int32, but got float32", {"bias": zeros(2, 16)}),
    (TypeError, "'output_dtype' must be float32, float16 or bfloat16, but got Int8", {"output_dtype": ms.int8}),
    (TypeError, "a 'scale' of bfloat16 gives a result of bfloat16, but float16 is asked for",
     {"scale": zeros(2, 16, dtype=ms.bfloat16), "output_dtype": ms.float16}),
    (TypeError, "a result of float32, float16 or bfloat16, but int32 is", {"out": zeros(4, 16, dtype=ms.int32)}),
    (ValueError, r"must be K = 40, dimension 1 of 'weight', or K rounded up to 32 = 64, but its shape is \[4, 48\]",
     {"x": zeros(4, 48, dtype=ms.int8)}),
    (ValueError, r"K, dimension 1 of 'weight', must be at most 132104, .* but got 132105",
     {"x": zeros(4, 132105, dtype=ms.int8), "weight": zeros(2, 132105, 16, dtype=ms.int8)}),
    (ValueError, r"dimension 1 of 'scale' must be the columns of 'weight' = 16", {"scale": zeros(2, 15)}),
    (ValueError, r"'scale' must have 2 dimensions, but its shape is \[16\]", {"scale": zeros(16)}),
    (ValueError, "dimension 0 of 'per_token_scale' must be the number of rows of 'x' = 4",
     {"per_token_scale": zeros(3)}),
    (ValueError, "dimension 0 of 'bias' must be the number of groups", {"bias": zeros(1, 16, dtype=ms.int32)}),
    (ValueError, "dimension 0 of 'out' must be the number of rows of 'x' = 4", {"out": zeros(5, 16)}),
    (ValueError, "'output_dtype' must be None with 'out'", {"out": zeros(4, 16), "output_dtype": ms.float32}),
    (ValueError, "'moe_grouped_matmul_quant', 'group_list' puts the rows 2 to 6 into group 1, but 'x' has 4 rows",
     {"group_list": Tensor(np.array([2, 4]))}),
    (ValueError, "'group_list_type' must be 0 or 1, but got 2", {"group_list_type": 2}),
])
def test_what_does_not_fit_is_refused(error, message, changes):
    refused(error, message, **changes)
