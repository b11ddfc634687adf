"""Neither a window nor a cell on one can be copied or pickled: no copy would be a window."""
import copy
import pickle

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from ms_moe_comm import ExpertWindow, MoELayer, MoEWeights

E, H, INTERMEDIATE = 2, 8, 8
COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": pickle.dumps}


@pytest.fixture(name="window")
def a_window():
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=1, max_tokens_per_rank=4, dtype=ms.float32) as made:
        yield made


@pytest.fixture(name="layer")
def a_layer(window):
    random = np.random.default_rng(0)
    arrays = {"router": random.random((H, E), np.float32),
              "gate_up": random.random((E, H, 2 * INTERMEDIATE), np.float32),
              "down": random.random((E, INTERMEDIATE, H), np.float32)}
    return MoELayer(window, MoEWeights.from_numpy("layer", arrays, ms.float32), "decode")


@pytest.mark.parametrize("how", COPIES)
def test_a_window_is_not_copied(window, how):
    with pytest.raises(TypeError, match="An ExpertWindow cannot be copied or pickled: .* ExpertWindow.create on all"):
        COPIES[how](window)
    window.check()  # it is still open


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_cell_on_a_window_is_not_copied(layer, how):
    x = Tensor(np.ones((3, H), np.float32))
    expected = layer(x).asnumpy()
    for cell in (layer, nn.SequentialCell(layer), layer.dispatcher):
        with pytest.raises(TypeError, match="A MoEDispatcher, and a cell that holds one, cannot be copied or pickled"):
            COPIES[how](cell)
    np.testing.assert_array_equal(layer(x).asnumpy(), expected)
    np.testing.assert_array_equal(copy.copy(layer)(x).asnumpy(), expected)  # the same tensors
