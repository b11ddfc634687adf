"""Reports of users of comparable packages that one rank can show; tests/multirank has those with several ranks.

All memory that the operators write is filled with NaN first, so that a value that nobody wrote shows.
"""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_moe_comm import (
    ExpertWindow,
    MoEDispatcher,
    moe_decode_dispatch,
    moe_grouped_matmul,
    moe_grouped_matmul_quant,
    moe_prefill_dispatch,
    reference,
)
from multirank.routing_steps import encode, memory_of
from tensors import DTYPES, to_numpy

PHASES = pytest.mark.parametrize("phase", ["prefill", "decode"])
DISPATCH = {"prefill": moe_prefill_dispatch, "decode": moe_decode_dispatch}
E, H, K, T_MAX = 6, 48, 2, 8


@pytest.fixture(autouse=True)
def pynative_mode():
    ms.set_context(mode=ms.PYNATIVE_MODE)


def make_window(dtype="float32", **changes):
    """A window whose rows, scales and outputs are NaN."""
    window = ExpertWindow.create(**{"moe_expert_num": E, "hidden_size": H, "top_k": K, "max_tokens_per_rank": T_MAX,
                                    "dtype": DTYPES[dtype], **changes})
    fill_with_nan(window)
    return window


def fill_with_nan(window):
    for tensor in (window.rows, window.scales, window.outputs):
        memory_of(tensor)[:] = 0xFF  # NaN in every dtype, -1 as int8


def same_bits(actual, expected):
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(actual.view(np.uint32), expected.view(np.uint32))


def whole_numbers(rng, *shape):
    """Small integers: float32 sums of their products are exact in any order."""
    return rng.integers(-8, 9, shape).astype(np.float32)


def through_experts(window, dispatcher, x, ids, scales, weight):
    """y of dispatch, one matmul per expert in place, and combine; and the reference's y. All float32."""
    expand_x, expand_idx, nums = reference.dispatch([x], [ids], E)
    rows, got_nums, handle = dispatcher.dispatch(Tensor(x), Tensor(ids))
    np.testing.assert_array_equal(got_nums.asnumpy(), nums[0])
    if dispatcher.quant_mode:
        w_steps = np.clip(weight, -8, 8).astype(np.int8)
        w_scale = np.full((E, H), 0.5, np.float32)
        outputs = moe_grouped_matmul_quant(rows[0], Tensor(w_steps), got_nums, Tensor(w_scale), rows[1],
                                           out=window.outputs)
        steps, row_scales = reference.quantise_rows(expand_x[0])
        expected = reference.grouped_matmul_int8(steps, w_steps, nums[0], w_scale, row_scales, "float32")
    else:
        outputs = moe_grouped_matmul(rows, Tensor(weight), got_nums, window.outputs)
        of_row = np.repeat(np.arange(E), nums[0])
        expected = np.einsum("mk,mkn->mn", expand_x[0], weight[of_row]).astype(np.float32)
    y = dispatcher.combine(outputs, Tensor(scales), handle).asnumpy()
    return y, reference.combine([expected], ids, scales, expand_idx[0], E, "float32")


@PHASES
@pytest.mark.parametrize("quant_mode", [0, 2])
def test_experts_without_tokens(phase, quant_mode):
    """Field report 7 (vllm-ascend 9170): experts that receive nothing, first, last, between and all of them.

    Field report 25 (afd-plugin 210): so an all-empty list of groups reaches the matmul, quantised or not.
    """
    rng = np.random.default_rng(7)
    weight = whole_numbers(rng, E, H, H)
    with make_window() as window:
        dispatcher = MoEDispatcher(window, phase, quant_mode=quant_mode)
        for experts in ([1, 4], [0, 5], [2, 2], [-1, -1], [0, 1], [-1, -1]):
            fill_with_nan(window)
            x = whole_numbers(rng, 5, H)
            ids = np.tile(np.array(experts, np.int32), (5, 1))
            y, expected = through_experts(window, dispatcher, x, ids, rng.random((5, K), np.float32), weight)
            assert np.isfinite(expected).all() and (experts[0] < 0) == (not expected.any())
            same_bits(y, expected)


@pytest.mark.parametrize("rows", [0, 4])
def test_quantised_matmul_of_nothing(rows):
    """Field report 25 (afd-plugin 210): no row at all, and rows that belong to no group."""
    out = Tensor(np.full((rows, 16), 7.0, np.float32))
    y = moe_grouped_matmul_quant(
        Tensor(np.full((rows, 32), -1, np.int8)), Tensor(np.ones((3, 32, 16), np.int8)), Tensor(np.zeros(3, np.int64)),
        Tensor(np.ones((3, 16), np.float32)), Tensor(np.full(rows, np.nan, np.float32)), out=out)
    assert y.shape == (rows, 16) and (y.asnumpy() == 7).all()


@PHASES
def test_negative_ids_are_skipped(phase):
    """Field report 8 (sgl-kernel-npu PR 313, 160): id -1 in counts, sums, offsets and combine; worked out by hand."""
    x = np.arange(4 * H, dtype=np.float32).reshape(4, H)
    ids = np.array([[-1, 2], [0, -1], [-1, -1], [2, 0]], np.int32)
    scales = np.array([[np.nan, 2], [3, np.nan], [np.nan, np.nan], [5, 7]], np.float32)  # a skipped weight is not read
    for kind, expected in ((1, [2, 0, 2, 0, 0, 0]), (0, [2, 2, 4, 4, 4, 4])):
        with make_window() as window:
            _, _, index, nums, plan, physical, control = DISPATCH[phase](
                Tensor(x), Tensor(ids), window.rows, window.scales, window.control, E, expert_token_nums_type=kind)
            assert nums.asnumpy().tolist() == expected
            assert index.asnumpy().tolist() == [[-1, 2], [0, -1], [-1, -1], [3, 1]]
            rows = window.rows.asnumpy()
            same_bits(rows[:4], x[[1, 3, 0, 3]])
            assert np.isnan(rows[4:]).all(), "a row past the total was written"
            assert window.stats()["received_rows"] == 4
            y = MoEDispatcher(window, phase).combine(window.rows, Tensor(scales), (physical, index, plan, control))
            same_bits(y.asnumpy(), x * np.array([[2], [3], [0], [12]], np.float32))


@PHASES
@pytest.mark.parametrize("per_expert", [False, True])
def test_padding_makes_no_traffic(phase, per_expert):
    """Field report 9 (vllm-ascend PR 15827): padded tokens are masked. A mask of another length:
    tests/kernel/test_messages.py.
    """
    rng = np.random.default_rng(9)
    real = 5
    x = np.full((T_MAX, H), np.nan, np.float32)  # the padding may hold anything
    x[:real] = rng.standard_normal((real, H), np.float32)
    ids = rng.integers(0, E, (T_MAX, K)).astype(np.int32)
    ids[real:] = 2**31 - 1  # and its id is not checked
    scales = rng.random((T_MAX, K), np.float32)
    scales[real:] = np.nan
    mask = np.arange(T_MAX) < real
    expand_x, expand_idx, nums = reference.dispatch([x[:real]], [ids[:real]], E)
    expected = np.zeros((T_MAX, H), np.float32)
    expected[:real] = reference.combine(expand_x, ids[:real], scales[:real], expand_idx[0], E, "float32")
    with make_window() as window:
        dispatcher = MoEDispatcher(window, phase)
        rows, got_nums, handle = dispatcher.dispatch(
            Tensor(x), Tensor(ids), Tensor(np.tile(mask[:, None], (1, K)) if per_expert else mask))
        np.testing.assert_array_equal(got_nums.asnumpy(), nums[0])
        np.testing.assert_array_equal(handle[1].asnumpy(), np.pad(expand_idx[0], ((0, T_MAX - real), (0, 0)),
                                                                  constant_values=-1))
        assert window.stats()["received_rows"] == real * K
        same_bits(rows.asnumpy()[:real * K], expand_x[0])
        assert np.isnan(rows.asnumpy()[real * K:]).all(), "a row past the total was written"
        same_bits(dispatcher.combine(rows, Tensor(scales), handle).asnumpy(), expected)


@PHASES
@pytest.mark.parametrize("block_dim", [1, 3])
def test_every_number_of_tokens(phase, block_dim):
    """Field report 10 (vllm-ascend 6179): T need not be a multiple of 8 or 16: every T from 0 to 67 on one window."""
    rng = np.random.default_rng(10)
    with make_window("bfloat16", max_tokens_per_rank=67, block_dim=block_dim) as window:
        dispatcher = MoEDispatcher(window, phase)
        for tokens in rng.permutation(68):
            fill_with_nan(window)
            x = reference.round_to(rng.standard_normal((tokens, H), np.float32), "bfloat16")
            ids = rng.integers(-1, E, (tokens, K)).astype(np.int32)
            scales = rng.random((tokens, K), np.float32)
            expand_x, expand_idx, nums = reference.dispatch([x], [ids], E)
            rows, got_nums, handle = dispatcher.dispatch(Tensor(x).astype(ms.bfloat16), Tensor(ids))
            np.testing.assert_array_equal(got_nums.asnumpy(), nums[0])
            same_bits(to_numpy(rows)[:len(expand_x[0])], expand_x[0])
            assert np.isnan(to_numpy(rows)[len(expand_x[0]):]).all(), "a row past the total was written"
            same_bits(to_numpy(dispatcher.combine(rows, Tensor(scales), handle)),
                      reference.combine(expand_x, ids, scales, expand_idx[0], E, "bfloat16"))


@PHASES
@pytest.mark.parametrize("dtype", list(DTYPES))
def test_the_dtype_of_rows_follows_the_request(phase, dtype):
    """Field report 13 (sglang PR 23815): int8 and scales if and only if quant_mode says so, on one window in turn."""
    rng = np.random.default_rng(13)
    x = reference.round_to(rng.standard_normal((3, H), np.float32), dtype)
    ids = np.array([[0, 1], [2, 0], [5, 3]], np.int32)
    expand_x = reference.dispatch([x], [ids], E)[0][0]
    with make_window(dtype) as window:
        arguments = Tensor(x).astype(DTYPES[dtype]), Tensor(ids)
        plain, quantised = (MoEDispatcher(window, phase, quant_mode=mode) for mode in (0, 2))
        for _ in range(2):
            fill_with_nan(window)
            rows = plain.dispatch(*arguments)[0]
            assert rows.dtype == DTYPES[dtype] and rows.shape == (T_MAX * K, H)
            same_bits(to_numpy(rows)[:6], expand_x)
            assert (memory_of(window.scales) == 0xFF).all(), "scales were written without quantisation"
            rows, scales = quantised.dispatch(*arguments)[0]
            steps, factors = reference.quantise_rows(expand_x)
            assert (rows.dtype, scales.dtype) == (ms.int8, ms.float32)
            np.testing.assert_array_equal(rows.asnumpy()[:6, :H], steps)
            same_bits(scales.asnumpy()[:6], factors)
            assert np.isnan(scales.asnumpy()[6:]).all()
            weight = Tensor(np.zeros((E, rows.shape[1], 16), np.float32)).astype(DTYPES[dtype])
            with pytest.raises(TypeError, match="'x'.* must .*, but got [Ii]nt8"):
                moe_grouped_matmul(rows, weight, Tensor(np.ones(E, np.int64))).asnumpy()
        for rows, mode, text in ((window.rows, 2, "the dtype of 'window_rows' must be int8 with quant_mode 2.* Pass "
                                                  "window.quantised_rows"),
                                 (window.quantised_rows, 0, "'x' and 'window_rows' must have the same dtype")):
            with pytest.raises(TypeError, match=text):
                DISPATCH[phase](*arguments, rows, window.scales, window.control, E, quant_mode=mode)[2].asnumpy()


@PHASES
@pytest.mark.parametrize("text, expert, change", [
    ("gives logical expert 0 the physical expert 6, but the window has 0 to 5", 0, {(0, 1): E}),
    ("gives logical expert 0 the physical expert -1, but the window has 0 to 5", 0, {(0, 0): -1}),
    ("gives physical expert 3 to logical expert 3, but it serves another already. Give each", 1, {(1, 0): 3}),
    ("'expert_ids' holds 4 (token 0, k 0), but the logical and special experts are 0 to 3. Pass a negative id", 4, {}),
])
def test_maps_name_physical_experts_that_exist(phase, text, expert, change):
    """Field report 15 (vllm-ascend PR 1223, 5311, 12650): an expert without a slot is refused before a row moves."""
    table = np.array([[0, 4], [1, -1], [2, -1], [3, 5]], np.int32)
    for place, value in change.items():
        table[place] = value
    with make_window() as window:
        with pytest.raises(RuntimeError) as error:
            MoEDispatcher(window, phase).dispatch(
                Tensor(np.ones((2, H), np.float32)), Tensor(np.full((2, K), expert, np.int32)),
                logical_to_physical_map=Tensor(table), logical_replica_count=Tensor(np.array([2, 1, 1, 2], np.int32))
            )[1].asnumpy()
        assert text in str(error.value)
        assert np.isnan(window.rows.asnumpy()).all(), "a row was moved"


@PHASES
@pytest.mark.parametrize("dtype", list(DTYPES))
def test_tokens_of_zeros_come_back_as_zeros(phase, dtype):
    """Field report 26 (public kernels: 127 / absmax): an all-zero token, of either sign, quantised: scale 0, y 0."""
    rng = np.random.default_rng(26)
    x = reference.round_to(rng.standard_normal((4, H), np.float32), dtype)
    x[1], x[3] = 0, -0.0
    ids = np.array([[0, 1], [0, 3], [3, 5], [5, 0]], np.int32)
    expand_x, expand_idx, nums = reference.dispatch([x], [ids], E)
    steps, factors = reference.quantise_rows(expand_x[0])
    weight, weight_scale = rng.integers(-127, 128, (E, H, H)).astype(np.int8), np.ones((E, H), np.float32)
    with make_window(dtype) as window:
        dispatcher = MoEDispatcher(window, phase, quant_mode=2)
        (rows, scales), got_nums, handle = dispatcher.dispatch(Tensor(x).astype(DTYPES[dtype]), Tensor(ids))
        np.testing.assert_array_equal(rows.asnumpy()[:8, :H], steps)
        same_bits(scales.asnumpy()[:8], factors)
        assert scales.asnumpy()[expand_idx[0][[1, 3]]].tolist() == [[0, 0], [0, 0]]
        outputs = moe_grouped_matmul_quant(rows, Tensor(weight), got_nums, Tensor(weight_scale), scales,
                                           out=window.outputs)
        y = to_numpy(dispatcher.combine(outputs, None, handle))
    expected = reference.grouped_matmul_int8(steps, weight, nums[0], weight_scale, factors, dtype)
    same_bits(y, reference.combine([expected], ids, None, expand_idx[0], E, dtype))
    assert not y[[1, 3]].any() and y[[0, 2]].all()


@PHASES
@pytest.mark.parametrize("dtype, hidden", [("float32", 8), ("float32", 40), ("float16", 16), ("bfloat16", 48),
                                           ("bfloat16", 4112)])
def test_rows_of_int8_have_one_stride(phase, dtype, hidden):
    """Field report 28 (public kernels): H is no multiple of 32, so int8 rows are padded, equally for all their users.

    Rows of floats are never padded: an H whose row is no multiple of 32 bytes is refused (tests/unit/test_window.py).
    """
    rng = np.random.default_rng(28)
    stride = -(-hidden // 32) * 32
    x = reference.round_to(rng.standard_normal((T_MAX, hidden), np.float32), dtype)
    ids = np.stack([rng.permutation(E)[:K] for _ in range(T_MAX)]).astype(np.int32)
    expand_x, expand_idx, nums = reference.dispatch([x], [ids], E)
    steps, factors = reference.quantise_rows(expand_x[0])
    weight = rng.integers(-127, 128, (E, hidden, hidden)).astype(np.int8)
    weight_scale = np.full((E, hidden), 2.0**-10, np.float32)
    with make_window(dtype, hidden_size=hidden) as window:
        dispatcher = MoEDispatcher(window, phase, quant_mode=2)
        (rows, scales), got_nums, handle = dispatcher.dispatch(Tensor(x).astype(DTYPES[dtype]), Tensor(ids))
        assert rows.shape == (T_MAX * K, stride) == window.quantised_rows.shape
        memory = memory_of(window.quantised_rows).view(np.int8).reshape(T_MAX * K, stride)
        np.testing.assert_array_equal(memory, np.pad(steps, ((0, 0), (0, stride - hidden))))
        same_bits(scales.asnumpy(), factors)
        outputs = moe_grouped_matmul_quant(rows, Tensor(weight), got_nums, Tensor(weight_scale), scales,
                                           out=window.outputs)
        expected = reference.grouped_matmul_int8(steps, weight, nums[0], weight_scale, factors, dtype)
        np.testing.assert_array_equal(memory_of(window.outputs), encode(expected, dtype).reshape(-1))
        same_bits(to_numpy(dispatcher.combine(outputs, None, handle)),
                  reference.combine([expected], ids, None, expand_idx[0], E, dtype))
        assert window.stats()["copied_bytes"] == 0
