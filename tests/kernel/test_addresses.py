"""The rows and the last matmul's output lie in the window, so that nothing is copied."""

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_moe_comm import ExpertWindow, MoEDispatcher, moe_grouped_matmul

E, H, K, T = 4, 64, 2, 8


def test_addresses():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T,
                             dtype=ms.bfloat16) as window:
        begin = window.control.data_ptr()  # the window begins with its control region and ends with the outputs
        end = window.outputs.data_ptr() + window.capacity * H * 2
        dispatcher = MoEDispatcher(window, "decode")
        ids = Tensor(np.tile([[0, 3]], (T, 1)).astype(np.int32))
        x = Tensor(np.ones((T, H), np.float32)).astype(ms.bfloat16)
        weight = Tensor(np.tile(np.eye(H, dtype=np.float32), (E, 1, 1))).astype(ms.bfloat16)
        expand_x, nums, handle = dispatcher.dispatch(x, ids)
        outputs = moe_grouped_matmul(expand_x, weight, nums, window.outputs)
        y = dispatcher.combine(outputs, None, handle)
        copied = window.stats()["copied_bytes"]
        print(f"\nwindow {begin:#x} to {end:#x}\nexpand_x at {expand_x.data_ptr():#x}, window.rows at "
              f"{window.rows.data_ptr():#x}\nlast matmul's output at {outputs.data_ptr():#x}, window.outputs at "
              f"{window.outputs.data_ptr():#x}\ncombine copied {copied} bytes")
        assert expand_x.data_ptr() == window.rows.data_ptr() and begin < expand_x.data_ptr() < end
        assert outputs.data_ptr() == window.outputs.data_ptr() and begin < outputs.data_ptr() < end
        assert copied == 0
        assert (y.astype(ms.float32).asnumpy() == 2).all()

        expand_x, nums, handle = dispatcher.dispatch(x, ids)
        elsewhere = moe_grouped_matmul(expand_x, weight, nums)
        dispatcher.combine(elsewhere, None, handle)
        assert window.stats()["copied_bytes"] == T * K * H * 2  # anything else is copied once
