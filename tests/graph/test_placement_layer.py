"""An MoE layer whose placement changes between two steps of one compiled graph."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_moe_comm import DenseMoELayer, ExpertPlacement, ExpertWindow, MoELayer, MoEWeights
from quantised import random_arrays
from tensors import DTYPES, to_numpy

L, E, H, I, K, Z, T = 4, 7, 64, 32, 3, 2, 9


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("dtype", list(DTYPES))
def test_another_placement_gives_the_same_bits_without_a_compilation(dtype, phase, int8):
    ms.set_context(mode=ms.GRAPH_MODE)
    rng = np.random.default_rng(3)
    arrays = random_arrays(L, H, I, shared=True)
    arrays["router"] = rng.standard_normal((H, L + Z)).astype(np.float32)
    make = MoEWeights.quantised if int8 else MoEWeights.from_numpy

    def weights_of(slots):
        return make("layer", arrays | {key: arrays[key][np.maximum(slots, 0)] for key in ("gate_up", "down")},
                    DTYPES[dtype])

    first, second = np.array([0, 1, 2, 3, 1, 1, -1]), np.array([3, 2, -1, 1, 0, 0, 2])
    dense = DenseMoELayer(make("dense", arrays, DTYPES[dtype]), K, zero_expert_num=Z)
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T,
                             dtype=DTYPES[dtype]) as window:
        placement, weights = ExpertPlacement(first, L), weights_of(first)
        layer = MoELayer(window, weights, phase, placement, zero_expert_num=Z)
        for slots in (first, second, first):
            weights.copy_from(weights_of(slots))
            placement.update(slots)
            x = Tensor(rng.standard_normal((T, H)), DTYPES[dtype])
            np.testing.assert_array_equal(to_numpy(layer(x)), to_numpy(dense(x)))
            assert len(layer.compile_cache) == 1


def test_weights_of_another_shape_are_not_copied():
    arrays = random_arrays(L, H, I, shared=False)
    weights = MoEWeights.from_numpy("a", arrays, ms.float32)
    fewer = {name: arrays[name][:2] for name in ("down", "gate_up")}
    other = MoEWeights.from_numpy("b", arrays | fewer, ms.float32)
    with pytest.raises(ValueError, match="gate_up is .* in the weights to copy"):
        weights.copy_from(other)
