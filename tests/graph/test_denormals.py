"""Denormal numbers are kept in graph mode, too, although MindSpore sets its threads to flush them to zero."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from ms_moe_comm import ExpertWindow, MoEDispatcher, reference
from tensors import DTYPES, to_numpy

E, H, K, T = 4, 48, 2, 5


class RoundTrip(nn.Cell):
    def __init__(self, window, phase):
        super().__init__()
        self.dispatcher = MoEDispatcher(window, phase)

    def construct(self, x, ids, scales):
        expand_x, _, handle = self.dispatcher.dispatch(x, ids)
        return self.dispatcher.combine(expand_x, scales, handle)


@pytest.mark.parametrize("dtype, smallest", [("float32", 2.0**-149), ("float16", 2.0**-24), ("bfloat16", 2.0**-133)])
@pytest.mark.parametrize("phase, block_dim", [("prefill", 1), ("prefill", 3), ("decode", 1), ("decode", 3)])
def test_combine_adds_them(dtype, smallest, phase, block_dim):
    ms.set_context(mode=ms.GRAPH_MODE)
    rng = np.random.default_rng(0)
    x = rng.integers(-99, 100, (T, H)).astype(np.float32) * np.float32(smallest)
    ids = np.stack([rng.permutation(E)[:K] for _ in range(T)]).astype(np.int32)
    scales = rng.random((T, K), np.float32)
    scales[0] = 2.0**-127  # a weight may be denormal as well
    expand_x, expand_idx, _ = reference.dispatch([x], [ids], E)
    expected = reference.combine(expand_x, ids, scales, expand_idx[0], E, dtype)
    assert (expected[1:] != 0).any()
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T, dtype=DTYPES[dtype],
                             block_dim=block_dim) as window:
        ms.set_context(mode=ms.PYNATIVE_MODE)
        rows = Tensor(x).astype(DTYPES[dtype])  # in graph mode the cast itself would flush them
        np.testing.assert_array_equal(to_numpy(rows), x)
        ms.set_context(mode=ms.GRAPH_MODE)
        y = RoundTrip(window, phase)(rows, Tensor(ids), Tensor(scales))
        ms.set_context(mode=ms.PYNATIVE_MODE)
        np.testing.assert_array_equal(to_numpy(y), expected)
