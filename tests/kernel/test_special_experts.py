"""Zero, copy and constant experts in combine have the reference's bits, except for the dot products of 2-D alphas.

These dot products are float32 sums in a fixed order. The number of operations bounds their error against float64 sums.
"""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_moe_comm import ExpertWindow, MoEDispatcher, reference
from tensors import DTYPES, to_numpy

E, K, Z, C, V = 5, 4, 2, 1, 3
LANES = 256  # lanes of the kernel's dot products
UNIT = 2.0**-24  # half a unit in the last place of a float32 of 1: the error of one operation


@pytest.fixture(autouse=True)
def pynative_mode():
    ms.set_context(mode=ms.PYNATIVE_MODE)


class Case:
    """Random tokens of one rank, a third of whose pairs go to special experts."""

    def __init__(self, seed, tokens, hidden, dtype, alpha_rank, scale=1.0):
        self.rng = np.random.default_rng(seed)
        self.tokens, self.hidden, self.dtype = tokens, hidden, dtype
        self.x = self.values(tokens, hidden)
        self.ids = self.rng.integers(-1, E + Z + C + V, (tokens, K)).astype(np.int32)
        self.scales = self.rng.random((tokens, K), np.float32)
        alphas = (V, hidden) if alpha_rank == 2 else (V,)
        self.parameters = {
            "ori_x": self.x,
            "const_expert_alpha_1": self.values(*alphas, scale=scale),
            "const_expert_alpha_2": self.values(*alphas, scale=scale),
            "const_expert_v": self.values(V, hidden),
        }

    def values(self, *shape, scale=1.0):
        return reference.round_to(scale * self.rng.standard_normal(shape, np.float32), self.dtype)

    def tensor(self, array):
        return Tensor(array).astype(DTYPES[self.dtype])

    def combine(self, phase, block_dim, with_scales=True):
        """y of the kernels; y of the reference in fp32, without the last rounding and with it."""
        routed = np.where(self.ids < E, self.ids, -1)
        expand_x, expand_idx, _ = reference.dispatch([self.x], [routed], E)
        index = np.where(self.ids < E, expand_idx[0], reference.SPECIAL_EXPERT)
        outputs = self.values(*expand_x[0].shape)
        scales = self.scales if with_scales else None
        with ExpertWindow.create(moe_expert_num=E, hidden_size=self.hidden, top_k=K, max_tokens_per_rank=self.tokens,
                                 dtype=DTYPES[self.dtype], block_dim=block_dim) as window:
            dispatcher = MoEDispatcher(window, phase, zero_expert_num=Z, copy_expert_num=C, const_expert_num=V)
            _, _, handle = dispatcher.dispatch(self.tensor(self.x), Tensor(self.ids))
            np.testing.assert_array_equal(handle[1].asnumpy(), index)
            y = to_numpy(dispatcher.combine(self.tensor(outputs), None if scales is None else Tensor(scales), handle,
                                            **{name: self.tensor(value) for name, value in self.parameters.items()}))
        expected = [reference.combine([outputs], self.ids, scales, index, E, dtype, **self.parameters,
                                      zero_expert_num=Z, copy_expert_num=C) for dtype in ("float32", self.dtype)]
        return y, *expected


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("with_scales", [True, False])
@pytest.mark.parametrize("hidden", [32, 4128])
def test_bits_with_coefficients_as_parameters(phase, dtype, with_scales, hidden):
    y, _, expected = Case(hidden, 70, hidden, dtype, alpha_rank=1).combine(phase, 3, with_scales)
    np.testing.assert_array_equal(y.view(np.uint32), expected.view(np.uint32))


def coefficient_bound(x, alphas):
    """The largest error of a1 and a2 against exact dot products, plus the rounding of the reference's own.

    A product passes its own rounding, at most ceil(H / 256) additions in its lane, log2(256 / 8) additions of lanes and
    7 of the last 8. a1 is a logistic function of the difference of the dot products, with a slope of at most 1/4. The
    difference from the largest dot product, exp (within 2 units), the sum and the quotient add a few roundings of
    numbers of at most 1. The error of the difference d is relative to d, and |d| exp(-d) is below 1.
    """
    operations = 1 + -(-x.size // LANES) + 5 + 7
    growth = operations * UNIT / (1 - operations * UNIT)
    dots = sum(growth * np.abs(x.astype(np.float64) * alpha).sum() for alpha in alphas)
    return dots / 4 + 8 * UNIT


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("hidden, scale", [(32, 1.0), (272, 0.1), (4128, 0.02), (7168, 1.0)])
def test_coefficients_from_the_token(phase, dtype, hidden, scale):
    """The last case has dot products of about 100: exp overflows unless the largest is subtracted first."""
    case = Case(hidden, 40, hidden, dtype, alpha_rank=2, scale=scale)
    y, exact, _ = case.combine(phase, 3)
    alphas, v = list(case.parameters.values())[1:3], case.parameters["const_expert_v"]
    half_place = {"float32": UNIT, "float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    for token in range(case.tokens):
        x = case.x[token]
        slack = np.zeros(hidden)
        size = np.zeros(hidden)  # sum of the terms' magnitudes, which bounds the roundings of the sum
        for k in range(K):
            constant = case.ids[token, k] - E - Z - C
            if constant < 0:
                continue
            bound = coefficient_bound(x, [alpha[constant] for alpha in alphas])
            slack += case.scales[token, k] * bound * (np.abs(x) + np.abs(v[constant]))
            size += case.scales[token, k] * (np.abs(x) + np.abs(v[constant]))
        slack += (3 * K + 1) * UNIT * (size + np.abs(exact[token]) + 8) * (size > 0)
        bound = slack + half_place * (np.abs(exact[token]) + slack) + 2.0**-25
        assert (np.abs(y[token].astype(np.float64) - exact[token]) <= bound).all()


@pytest.mark.parametrize("dtype", list(DTYPES))
def test_coefficients_do_not_depend_on_the_split(dtype):
    """Prefill and decode give the same bits on any number of cores: a token's tiles on several cores agree."""
    results = [Case(1, 7, 8208, dtype, alpha_rank=2, scale=0.05).combine(phase, block_dim)[0].tobytes()
               for phase in ("prefill", "decode") for block_dim in (1, 3, 8)]
    assert len(set(results)) == 1


def test_equal_dot_products_give_halves():
    case = Case(2, 6, 48, "float32", alpha_rank=2)
    case.parameters["const_expert_alpha_2"] = case.parameters["const_expert_alpha_1"]
    case.ids[:] = E + Z + C + 1
    y, _, expected = case.combine("decode", 2)
    np.testing.assert_array_equal(y.view(np.uint32), expected.view(np.uint32))


def test_infinite_and_nan_tokens_stay_in_their_rows():
    case = Case(3, 3, 32, "float32", alpha_rank=2)
    case.ids[:] = E + Z + C
    case.x[0, 5], case.x[1, 6] = np.inf, np.nan
    with np.errstate(invalid="ignore"):  # in the reference
        y = case.combine("decode", 1)[0]
    assert np.isnan(y[:2]).all() and np.isfinite(y[2]).all()
