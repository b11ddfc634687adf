"""A layer in rounds over several ranks: what each rank checks."""

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_moe_comm import DenseMoELayer, ExpertWindow, MoELayer, MoEWeights
from quantised import random_arrays
from tensors import DTYPES, fill_with_nan, to_numpy

EXPERTS, HIDDEN, INTERMEDIATE, TOP_K = 8, 64, 32, 3
CHUNK, MAX_TOKENS, ROUNDS = 16, 40, 3


def run(group, dtype, phase, int8, tokens):
    """Every step must give the dense layer's bits. `tokens` has a list per step: T of each rank."""
    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE)
    make = MoEWeights.quantised if int8 else MoEWeights.from_numpy
    arrays = random_arrays(EXPERTS, HIDDEN, INTERMEDIATE, shared=True)
    local = EXPERTS // group.size
    own = slice(group.rank * local, (group.rank + 1) * local)
    own_arrays = arrays | {key: arrays[key][own] for key in ("gate_up", "down")}
    dense = DenseMoELayer(make("dense", arrays, DTYPES[dtype]), TOP_K)
    with ExpertWindow.create(moe_expert_num=EXPERTS, hidden_size=HIDDEN, top_k=TOP_K, max_tokens_per_rank=CHUNK,
                             dtype=DTYPES[dtype], group=group, timeout=60.0) as window:
        assert window.capacity == group.size * CHUNK * min(local, TOP_K)
        layer = MoELayer(window, make("own", own_arrays, DTYPES[dtype]), phase, max_tokens=MAX_TOKENS)
        for step, tokens_of in enumerate(tokens, 1):
            token_num = tokens_of[group.rank]
            rng = np.random.default_rng((step, group.rank))
            x = Tensor(rng.standard_normal((token_num, HIDDEN), np.float32)).astype(DTYPES[dtype])
            mask = Tensor(rng.random(token_num) < 0.7)
            fill_with_nan(window)
            group.all_gather([0])
            y = to_numpy(layer(x, mask))
            group.all_gather([0])  # from now on no peer reads this rank's outputs
            assert y.shape == (token_num, HIDDEN)
            if token_num:  # the dense layer takes no empty tensor
                expected = to_numpy(dense(x, mask))
                np.testing.assert_array_equal(y.view(np.uint32), expected.view(np.uint32), f"step {step}")
            assert window.stats()["epoch"] == step * ROUNDS
            assert window.stats()["copied_bytes"] == 0
    own_tokens = ", ".join(str(tokens_of[group.rank]) for tokens_of in tokens)
    print(f"rank {group.rank} of {group.size}, {dtype}, {phase}: T = {own_tokens} in {ROUNDS} rounds of {CHUNK}: bits "
          f"of the dense layer")
