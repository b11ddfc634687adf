"""The kernels on one rank, over their whole range of shapes: long rows, many experts, every K, several cores."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_moe_comm import ExpertWindow, MoEDispatcher, reference
from tensors import DTYPES, to_numpy


@pytest.fixture(autouse=True)
def pynative_mode():
    ms.set_context(mode=ms.PYNATIVE_MODE)


def round_trip(token_num, hidden, experts, top_k, dtype, phase, block_dim, seed, distinct=True):
    """Dispatches random tokens, returns other values as the experts' outputs and combines; checks everything."""
    rng = np.random.default_rng(seed)
    x = reference.round_to(rng.standard_normal((token_num, hidden), np.float32), dtype)
    if distinct:
        ids = np.stack([rng.permutation(experts)[:top_k] for _ in range(token_num)]).astype(np.int32)
    else:
        ids = rng.integers(0, experts, (token_num, top_k)).astype(np.int32)
    scales = rng.random((token_num, top_k), np.float32)
    expand_x, expand_idx, nums = reference.dispatch([x], [ids], experts)
    with ExpertWindow.create(moe_expert_num=experts, hidden_size=hidden, top_k=top_k, max_tokens_per_rank=token_num,
                             dtype=DTYPES[dtype], block_dim=block_dim, capacity=token_num * top_k) as window:
        dispatcher = MoEDispatcher(window, phase)
        rows, got_nums, handle = dispatcher.dispatch(Tensor(x).astype(DTYPES[dtype]), Tensor(ids))
        np.testing.assert_array_equal(got_nums.asnumpy(), nums[0])
        np.testing.assert_array_equal(handle[1].asnumpy(), expand_idx[0])
        np.testing.assert_array_equal(to_numpy(rows), expand_x[0])
        outputs = reference.round_to(rng.standard_normal(expand_x[0].shape, np.float32), dtype)
        y = dispatcher.combine(Tensor(outputs).astype(DTYPES[dtype]), Tensor(scales), handle)
        expected = reference.combine([outputs], ids, scales, expand_idx[0], experts, dtype)
        np.testing.assert_array_equal(to_numpy(y).view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("hidden", [16, 32, 1008, 4096, 4112, 7168, 20480])
def test_row_lengths(phase, dtype, hidden):
    """Rows from one 32-byte block to longer than any buffer of the kernels.

    Field report 14 (DeepEP PR 413, sglang PR 19468): H need not be a multiple of 128, nor in fp16.
    """
    if hidden == 16 and dtype == "float32":
        hidden = 8
    round_trip(token_num=5, hidden=hidden, experts=6, top_k=3, dtype=dtype, phase=phase, block_dim=1, seed=hidden)


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("top_k", range(1, 17))
def test_every_k(phase, top_k):
    round_trip(token_num=21, hidden=16, experts=16, top_k=top_k, dtype="bfloat16", phase=phase, block_dim=1, seed=top_k)


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("experts", [1, 2, 3, 511, 513, 1024, 1025, 4097, 65536])
def test_numbers_of_experts(phase, experts):
    """Numbers of experts around the tile sizes in which the counts are read, up to the limit.

    Field report 30 (public kernels: tables for at most 512 experts). Many ranks: tests/multirank/test_long_runs.py.
    """
    round_trip(token_num=40, hidden=16, experts=experts, top_k=min(4, experts), dtype="float16", phase=phase,
               block_dim=1, seed=experts)


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("block_dim", [2, 3, 8, 64])
@pytest.mark.parametrize("token_num", [1, 7, 130, 1000])
def test_several_cores_give_the_same_bits(phase, block_dim, token_num):
    round_trip(token_num=token_num, hidden=32, experts=10, top_k=4, dtype="bfloat16", phase=phase, block_dim=block_dim,
               seed=token_num)


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_repeated_experts_are_rows_of_their_own(phase):
    round_trip(token_num=30, hidden=32, experts=2, top_k=6, dtype="float32", phase=phase, block_dim=2, seed=1,
               distinct=False)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_16_bit_value_survives(dtype):
    """The twin widens and rounds: each value comes back; NaN stays NaN."""
    bits = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    if dtype == "float16":
        values = bits.view(np.float16).astype(np.float32)
    else:
        values = (bits.astype(np.uint32) << 16).view(np.float32)
    values = values.reshape(16, 4096)
    with ExpertWindow.create(moe_expert_num=1, hidden_size=4096, top_k=1, max_tokens_per_rank=16,
                             dtype=DTYPES[dtype]) as window:
        dispatcher = MoEDispatcher(window)
        rows, _, handle = dispatcher.dispatch(Tensor(values).astype(DTYPES[dtype]), Tensor(np.zeros((16, 1), np.int32)))
        y = to_numpy(dispatcher.combine(rows, None, handle))
    nan = np.isnan(values)
    assert np.isnan(y[nan]).all()
    zero = values == 0  # +0 + -0 is +0
    np.testing.assert_array_equal(y[~nan & ~zero].view(np.uint32), values[~nan & ~zero].view(np.uint32))
    np.testing.assert_array_equal(y[zero].view(np.uint32), 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rounding_is_half_to_even(dtype):
    """Sums that lie on, just below and just above the middle of two values, over the whole range of exponents."""
    rng = np.random.default_rng(3)
    hidden = 4096
    exponents = rng.integers(-30 if dtype == "float16" else -140, 18 if dtype == "float16" else 130, (2, hidden))
    with np.errstate(over="ignore"):
        first = reference.round_to(np.ldexp(rng.random(hidden, np.float32) + 1, exponents[0]).astype(np.float32), dtype)
        second = reference.round_to(np.ldexp(rng.choice([1.0, 0.5, 0.75], hidden), exponents[0] - 8), dtype)
    ids = np.array([[0, 1]], np.int32)
    with ExpertWindow.create(moe_expert_num=2, hidden_size=hidden, top_k=2, max_tokens_per_rank=1,
                             dtype=DTYPES[dtype]) as window:
        dispatcher = MoEDispatcher(window)
        _, _, handle = dispatcher.dispatch(Tensor(np.zeros((1, hidden), np.float32)).astype(DTYPES[dtype]), Tensor(ids))
        outputs = np.stack([first, second]).astype(np.float32)
        y = to_numpy(dispatcher.combine(Tensor(outputs).astype(DTYPES[dtype]), None, handle))
    expected = reference.combine([outputs], ids, None, np.array([[0, 1]]), 2, dtype)
    np.testing.assert_array_equal(y.view(np.uint32), expected.view(np.uint32))


def test_one_window_serves_both_phases_in_any_order():
    rng = np.random.default_rng(4)
    with ExpertWindow.create(moe_expert_num=4, hidden_size=32, top_k=2, max_tokens_per_rank=16,
                             dtype=ms.float32) as window:
        dispatchers = [MoEDispatcher(window, "prefill"), MoEDispatcher(window, "decode")]
        for _ in range(50):
            token_num = int(rng.integers(0, 17))
            x = rng.standard_normal((token_num, 32)).astype(np.float32)
            ids = rng.integers(-1, 4, (token_num, 2)).astype(np.int64)
            dispatcher = dispatchers[rng.integers(2)]
            rows, _, handle = dispatcher.dispatch(Tensor(x), Tensor(ids))
            y = dispatcher.combine(rows, None, handle)
            np.testing.assert_array_equal(y.asnumpy(), x * (ids >= 0).sum(1, keepdims=True).astype(np.float32))
