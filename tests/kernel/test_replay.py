"""Launches with frozen arguments, as a captured graph replays them on an NPU: no host code runs in between.

So epochs and the parity of the counts, which change from step to step, are in the window, and the kernels advance them.
"""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_moe_comm import ExpertWindow, MoEDispatcher, _lib, reference

E, H, K, T, REPLAYS = 6, 32, 3, 20, 50


@pytest.fixture(autouse=True)
def pynative_mode():
    ms.set_context(mode=ms.PYNATIVE_MODE)


def new_tokens(rng):
    ids = np.stack([rng.permutation(E)[:K] for _ in range(T)]).astype(np.int32)
    return rng.standard_normal((T, H), np.float32), ids, rng.random((T, K), np.float32)


@pytest.mark.parametrize("block_dim", [1, 3])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_replay_of_frozen_launches(phase, block_dim):
    """Records dispatch and combine once; then replays them with other tokens and routing at the same addresses.

    Field report 17 (vllm-ascend's ZBAL notes: buffers made inside graph capture): nothing is made in between.
    """
    rng = np.random.default_rng(block_dim)
    inputs = new_tokens(rng)
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T, dtype=ms.float32,
                             block_dim=block_dim) as window:
        dispatcher = MoEDispatcher(window, phase)
        x, ids, scales = (Tensor.from_numpy(array) for array in inputs)  # the arrays are the tensors' memory
        _lib.start_recording()
        rows, nums, handle = dispatcher.dispatch(x, ids)
        y = dispatcher.combine(rows, scales, handle)
        outputs = (nums, handle[1], y)
        addresses = [output.data_ptr() for output in outputs]  # waits for the launches too
        _lib.stop_recording()
        calls = window.timers()["dispatch_calls"]
        for replay in range(1, REPLAYS + 1):
            for array, new in zip(inputs, new_tokens(rng), strict=True):
                array[:] = new
            _lib.replay()
            expand_x, expand_idx, expected_nums = reference.dispatch([inputs[0]], [inputs[1]], E)
            expected = reference.combine(expand_x, inputs[1], inputs[2], expand_idx[0], E, "float32")
            np.testing.assert_array_equal(nums.asnumpy(), expected_nums[0])
            np.testing.assert_array_equal(handle[1].asnumpy(), expand_idx[0])
            np.testing.assert_array_equal(y.asnumpy(), expected)
            stats = window.stats()
            assert stats["epoch"] == 1 + replay and stats["exchange"] == 1 + replay
        assert [output.data_ptr() for output in outputs] == addresses
        assert window.timers()["dispatch_calls"] == calls  # the host code was not called


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_dtype_that_kernels_do_not_know_is_recorded(phase):
    """An unknown dtype code is an error: nothing is read as another dtype or silently left out."""
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T,
                             dtype=ms.float32) as window:
        dispatcher = MoEDispatcher(window, phase)
        x, ids, scales = (Tensor(array) for array in new_tokens(np.random.default_rng(1)))
        _lib.start_recording()
        rows, _, handle = dispatcher.dispatch(x, ids)
        dispatcher.combine(rows, scales, handle)
        _lib.stop_recording()
        window._provider.words(8 * _lib.window_fields()["dtype"], 1)[0] = 9
        _lib.replay()
        assert "got the dtype code 9, which the kernels do not know." in _lib.describe_error(window.control.data_ptr())
