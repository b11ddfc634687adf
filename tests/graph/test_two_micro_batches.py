"""Two overlapping micro-batches in one graph need two windows; with one window the second dispatch is noticed."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_moe_comm.group import SoloGroup
from multirank.two_micro_batches import HIDDEN, ORDERS, make_window, micro_batch, run


@pytest.mark.parametrize("order", list(ORDERS))
@pytest.mark.parametrize("dtype, phases", [("bfloat16", ("prefill", "prefill")), ("float32", ("decode", "decode")),
                                           ("float16", ("prefill", "decode"))])
def test_bits_of_dense_layers(dtype, phases, order):
    run(SoloGroup(), dtype, phases, order)


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_one_window_for_both_is_refused(phase):
    ms.set_context(mode=ms.GRAPH_MODE)
    x = Tensor(np.ones((2, HIDDEN), np.float32))
    text = f"moe_{phase}_combine'.* plan of dispatch 1 for T = 2 and K = 3, but the window's last dispatch is number 2"
    with make_window(SoloGroup(), "float32") as window:
        a, b = (micro_batch(window, phase, "float32", layers=1) for _ in range(2))
        with pytest.raises(RuntimeError, match=text):
            for y in ORDERS["side by side"](a, b)(x, x):
                y.asnumpy()
