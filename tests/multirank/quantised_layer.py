"""A W8A8 layer over several ranks: what each rank checks."""

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_moe_comm import DenseMoELayer, ExpertWindow, MoELayer, MoEWeights, reference
from quantised import layer_in_numpy, random_arrays
from tensors import DTYPES, to_numpy


def run(group, dtype, phase, experts=8, hidden=128, intermediate=96, top_k=3, max_tokens=150):
    """Checks for the dense layer's bits, and an error of at most 1.05 times that of plain numpy. Prints both errors."""
    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE)
    arrays = random_arrays(experts, hidden, intermediate, shared=True)
    local = experts // group.size
    own = slice(group.rank * local, (group.rank + 1) * local)
    own_arrays = arrays | {key: arrays[key][own] for key in ("gate_up", "down")}
    dense = DenseMoELayer(MoEWeights.quantised("dense", arrays, DTYPES[dtype]), top_k)
    rng = np.random.default_rng(group.rank)
    with ExpertWindow.create(moe_expert_num=experts, hidden_size=hidden, top_k=top_k, max_tokens_per_rank=max_tokens,
                             dtype=DTYPES[dtype], group=group, timeout=120.0) as window:
        layer = MoELayer(window, MoEWeights.quantised("own", own_arrays, DTYPES[dtype]), phase)
        for token_num in (max_tokens, 1 + group.rank, group.rank):
            x = reference.round_to(rng.standard_normal((token_num, hidden), np.float32), dtype)
            y = to_numpy(layer(Tensor(x).astype(DTYPES[dtype])))
            assert y.shape == (token_num, hidden)
            if token_num == 0:
                continue  # MindSpore 2.10 crashes when it compiles the dense layer without tokens
            np.testing.assert_array_equal(y, to_numpy(dense(Tensor(x).astype(DTYPES[dtype]))))
            if token_num == max_tokens:
                exact, plain = (layer_in_numpy(x, arrays, top_k, quantised) for quantised in (False, True))
                error, error_of_numpy = (np.linalg.norm(z - exact) / np.linalg.norm(exact) for z in (y, plain))
                assert error <= 1.05 * error_of_numpy, (error, error_of_numpy)
        assert window.stats()["copied_bytes"] == 0
    print(f"rank {group.rank} of {group.size}, {dtype}, {phase}: bits of the dense layer, relative error {error:.5f}, "
          f"with plain numpy {error_of_numpy:.5f}")
