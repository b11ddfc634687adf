"""moe_dynamic_quant against numpy, to the bit, above all for irregular rows."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from ms_moe_comm import moe_dynamic_quant, reference
from tensors import DTYPES, to_numpy

SMALLEST = 2.0**-119  # a row whose largest magnitude is below counts as zero


class Quantise(nn.Cell):
    def construct(self, x, smooth_scales=None):
        return moe_dynamic_quant(x, smooth_scales)


def check(x, dtype, smooth=None):
    """Quantises float32 values that are exact in `dtype`, in both modes; returns int8 and scales."""
    expected_y, expected_scale = reference.quantise_rows(x, smooth)
    for mode in (ms.PYNATIVE_MODE, ms.GRAPH_MODE):
        ms.set_context(mode=mode)
        tensor = Tensor(x).astype(DTYPES[dtype])
        np.testing.assert_array_equal(to_numpy(tensor), x)
        y, scale = Quantise()(tensor, None if smooth is None else Tensor(smooth))
        assert y.dtype == ms.int8 and scale.dtype == ms.float32
        np.testing.assert_array_equal(y.asnumpy(), expected_y)
        np.testing.assert_array_equal(scale.asnumpy(), expected_scale)
    return expected_y, expected_scale


def rows_of_all_sizes(rng, rows, hidden, dtype):
    """Normal rows; their magnitudes cover the dtype's range."""
    exponents = {"float32": (-118, 120), "bfloat16": (-118, 120), "float16": (-12, 10)}[dtype]
    x = rng.standard_normal((rows, hidden), np.float32)
    return reference.round_to(x * np.exp2(rng.integers(*exponents, (rows, 1))).astype(np.float32), dtype)


@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("with_smooth", [False, True])
@pytest.mark.parametrize("rows, hidden", [(0, 32), (1, 16), (77, 32), (70, 48), (33, 2048), (5, 7168), (3, 50000)])
def test_bits_of_the_reference(dtype, with_smooth, rows, hidden):
    rng = np.random.default_rng(rows)
    x = rows_of_all_sizes(rng, rows, hidden, dtype)
    smooth = np.exp2(rng.uniform(-3, 3, hidden)).astype(np.float32) if with_smooth else None
    if rows:
        y, scale = check(x, dtype, smooth)
        values = x if smooth is None else x * smooth
        assert (np.abs(y.astype(np.int64)).max(axis=1) == 127).all()
        off = np.abs(y * scale.astype(np.float64)[:, None] - values) / scale[:, None]
        assert off.max() <= 0.500004 + 127 * 2.0**-24, "more than the specification's half step"
    else:
        y, scale = moe_dynamic_quant(Tensor(x).astype(DTYPES[dtype]))
        assert y.shape == (0, hidden) and scale.shape == (0,)


@pytest.mark.parametrize("dtype", list(DTYPES))
def test_rows_that_are_not_regular(dtype):
    """Field report 26 (public kernels: 127 / absmax of zeros): scale 0 and zeros; NaN and infinity are not hidden."""
    hidden = 48
    rng = np.random.default_rng(0)
    x = rows_of_all_sizes(rng, 40, hidden, dtype)
    x[::2] = reference.round_to(rng.standard_normal((20, hidden), np.float32), dtype)
    tiny = {"float32": 1e-45, "bfloat16": 2.0**-133, "float16": 2.0**-24}[dtype]
    for row, (place, value) in enumerate([(0, np.nan), (47, -np.nan), (17, np.inf), (3, -np.inf), (46, np.inf)]):
        x[2 * row, place] = value
    x[0, 1] = np.inf  # beside a NaN
    x[10] = 0
    x[12] = -0.0
    x[14] = tiny
    x[16] = 0
    x[16, 5] = -tiny
    y, scale = check(x, dtype)
    assert np.isnan(scale[0:10:2]).all() and not y[0:10:2].any()
    assert (scale[[10, 12]] == 0).all() and not y[[10, 12]].any()
    if dtype != "float16":
        assert (scale[[14, 16]] == 0).all() and not y[[14, 16]].any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_where_a_row_counts_as_zero(dtype):
    x = np.zeros((4, 32), np.float32)
    below = np.nextafter(np.float32(SMALLEST), np.float32(0)) if dtype == "float32" else SMALLEST * (1 - 2.0**-8)
    x[:, 7] = [SMALLEST, below, -SMALLEST, -below]
    x[:, 9] = SMALLEST / 254  # a tie: half a step
    y, scale = check(reference.round_to(x, dtype), dtype)
    assert y[:, 7].tolist() == [127, 0, -127, 0]
    assert (scale > 0).tolist() == [True, False, True, False]


def test_products_with_smooth_scales_that_overflow_or_vanish():
    x = np.full((6, 32), 1.5, np.float32)
    smooth = np.ones(32, np.float32)
    smooth[3] = 3e38
    x[1, 3] = -2  # the product is -inf
    x[2] = 0
    x[3, 4] = np.nan
    x[4, 3] = 1e-38
    x[5, 3] = np.inf
    _, scale = check(x, "float32", smooth)
    assert np.isnan(scale[[0, 1, 3, 5]]).all() and scale[2] == 0 and scale[4] > 0
    smooth[3] = 0  # times infinity: NaN
    _, scale = check(x, "float32", smooth)
    assert np.isnan(scale[5])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_value_of_sixteen_bits(dtype):
    """All finite values below each of some largest magnitudes, so every rounding, including ties to even."""
    bits = np.arange(0x8000, dtype=np.uint32)
    magnitudes = (bits.astype(np.uint16).view(np.float16).astype(np.float32) if dtype == "float16"
                  else (bits << np.uint32(16)).view(np.float32))
    magnitudes = magnitudes[np.isfinite(magnitudes)]
    values = np.concatenate([magnitudes, -magnitudes])
    values = np.pad(values, (0, -len(values) % 32))
    rows = []
    for magnitude in (127.0, 1.0, 254.0, 1.5, 0.9921875):
        largest = reference.round_to(np.float32(magnitude).reshape(1), dtype)[0]
        row = np.where(np.abs(values) <= largest, values, np.float32(0))
        row[0] = largest
        rows.append(row)
    check(np.stack(rows), dtype)


@pytest.mark.parametrize("undefined", [0x7FC00000, 0xFFFFFFFF, 0x7F800000, 1])
def test_rows_that_nobody_wrote_do_not_touch_the_others(undefined):
    x = np.random.default_rng(2).standard_normal((500, 96), np.float32)
    expected = reference.quantise_rows(x[:300])
    x[300:] = np.uint32(undefined).view(np.float32)
    y, scale = moe_dynamic_quant(Tensor(x))
    np.testing.assert_array_equal(y.asnumpy()[:300], expected[0])
    np.testing.assert_array_equal(scale.asnumpy()[:300], expected[1])


def test_what_does_not_fit_is_refused():
    x = Tensor(np.zeros((4, 32), np.float32))
    for error, message, arguments in (
            (TypeError, "'x' must be one of float32, float16, bfloat16, but got int32", (x.astype(ms.int32),)),
            (ValueError, r"'x' must have 2 dimensions, but its shape is \[128\]", (x.reshape(-1),)),
            (TypeError, "'smooth_scales' must be float32, but got float16", (x, x[0].astype(ms.float16))),
            (ValueError, "'smooth_scales' must have 1 dimensions", (x, x)),
            (ValueError, "dimension 0 of 'smooth_scales' must be H = 32", (x, x[0, :16]))):
        with pytest.raises(error, match=message):
            moe_dynamic_quant(*arguments)[0].asnumpy()
