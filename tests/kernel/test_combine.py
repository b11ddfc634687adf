"""What combine adds to the experts' outputs, and the dtype of its result, to the reference's bits."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_moe_comm import ExpertWindow, MoEDispatcher, reference
from tensors import DTYPES, to_numpy

E, K = 6, 3


@pytest.fixture(autouse=True)
def pynative_mode():
    ms.set_context(mode=ms.PYNATIVE_MODE)


def rows_of(rng, rows, hidden, dtype):
    """Random values of `dtype`, as a float32 array and as a tensor."""
    values = reference.round_to(rng.standard_normal((rows, hidden), np.float32), dtype)
    return values, Tensor(values).astype(DTYPES[dtype])


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("out_dtype", [None, *DTYPES])
@pytest.mark.parametrize("hidden", [24, 4128])
def test_addends_and_out_dtype(phase, dtype, out_dtype, hidden):
    """Combine adds the shared expert, then the residual, and rounds once to the requested dtype."""
    hidden = hidden if dtype == "float32" else -(-hidden // 16) * 16
    rng = np.random.default_rng(hidden)
    tokens = 9
    x, x_tensor = rows_of(rng, tokens, hidden, dtype)
    ids = rng.integers(-1, E, (tokens, K)).astype(np.int32)
    ids[4] = -1  # this token gets the addends alone
    scales = rng.random((tokens, K), np.float32)
    expand_x, expand_idx, _ = reference.dispatch([x], [ids], E)
    with ExpertWindow.create(moe_expert_num=E, hidden_size=hidden, top_k=K, max_tokens_per_rank=tokens,
                             dtype=DTYPES[dtype], block_dim=3) as window:
        dispatcher = MoEDispatcher(window, phase)
        for shared, residual in ((False, True), (True, True), (True, False), (False, False)):
            shared_x, shared_tensor = rows_of(rng, tokens, hidden, dtype) if shared else (None, None)
            residual_x, residual_tensor = rows_of(rng, tokens, hidden, dtype) if residual else (None, None)
            _, _, handle = dispatcher.dispatch(x_tensor, Tensor(ids))
            outputs, output_tensor = rows_of(rng, len(expand_x[0]), hidden, dtype)
            y = dispatcher.combine(output_tensor, Tensor(scales), handle, shared_tensor, residual_tensor,
                                   out_dtype=out_dtype and DTYPES[out_dtype])
            assert y.dtype == DTYPES[out_dtype or dtype]
            expected = reference.combine([outputs], ids, scales, expand_idx[0], E, out_dtype or dtype, shared_x,
                                         residual_x)
            np.testing.assert_array_equal(to_numpy(y).view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_the_residual_is_added_before_the_rounding(phase):
    """1 + 2^-8 is a tie in bfloat16: it would round to 1 and lose the residual's half of the last place."""
    hidden = 16
    with ExpertWindow.create(moe_expert_num=1, hidden_size=hidden, top_k=1, max_tokens_per_rank=1,
                             dtype=ms.bfloat16) as window:
        dispatcher = MoEDispatcher(window, phase)
        one = Tensor(np.ones((1, hidden), np.float32)).astype(ms.bfloat16)
        half_a_place = Tensor(np.full((1, hidden), 2.0**-8, np.float32)).astype(ms.bfloat16)
        rows, _, handle = dispatcher.dispatch(one, Tensor(np.zeros((1, 1), np.int32)))
        y = dispatcher.combine(rows, None, handle, half_a_place, half_a_place)
        assert to_numpy(y).tolist() == [[1 + 2.0**-7] * hidden]


def test_out_dtype_in_a_graph():
    class RoundTrip(ms.nn.Cell):
        def __init__(self, window):
            super().__init__()
            self.dispatcher = MoEDispatcher(window, "decode")

        def construct(self, x, ids, residual):
            rows, _, handle = self.dispatcher.dispatch(x, ids)
            return self.dispatcher.combine(rows, None, handle, residual_x=residual, out_dtype=ms.float32)

    ms.set_context(mode=ms.GRAPH_MODE)
    with ExpertWindow.create(moe_expert_num=2, hidden_size=32, top_k=1, max_tokens_per_rank=2,
                             dtype=ms.bfloat16) as window:
        x, x_tensor = rows_of(np.random.default_rng(0), 2, 32, "bfloat16")
        y = RoundTrip(window)(x_tensor, Tensor(np.array([[1], [-1]], np.int32)), x_tensor)
        assert y.dtype == ms.float32
        np.testing.assert_array_equal(y.asnumpy(), x * np.array([[2], [1]], np.float32))
