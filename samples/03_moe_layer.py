r"""One MoE layer in a static graph, with its experts behind a window, has the bits of a dense layer with all experts.

In rounds the tokens go through a window of a quarter of the size.

    python samples/03_moe_layer.py

or on several ranks, each with a share of the experts and tokens of its own:

    msrun --worker_num=4 --local_worker_num=4 --join=True --tail_worker_log=0 --log_dir=/tmp/msrun_logs \
        samples/03_moe_layer.py

One rank prints:

    rank 0 of 1, Float32, prefill: 64 of 64 tokens have the dense layer's bits, combine copied 0 bytes
    rank 0 of 1, Float32, decode: 64 of 64 tokens have the dense layer's bits, combine copied 0 bytes
    rank 0 of 1, Float32, prefill in 4 rounds: 64 of 64 tokens have the dense layer's bits, combine copied 0 bytes
    rank 0 of 1, Float16, prefill: 64 of 64 tokens have the dense layer's bits, combine copied 0 bytes
    rank 0 of 1, Float16, decode: 64 of 64 tokens have the dense layer's bits, combine copied 0 bytes
    rank 0 of 1, Float16, prefill in 4 rounds: 64 of 64 tokens have the dense layer's bits, combine copied 0 bytes
    rank 0 of 1, BFloat16, prefill: 64 of 64 tokens have the dense layer's bits, combine copied 0 bytes
    rank 0 of 1, BFloat16, decode: 64 of 64 tokens have the dense layer's bits, combine copied 0 bytes
    rank 0 of 1, BFloat16, prefill in 4 rounds: 64 of 64 tokens have the dense layer's bits, combine copied 0 bytes
"""
import os

import mindspore as ms
import numpy as np
from mindspore import Tensor, communication

from ms_moe_comm import DenseMoELayer, ExpertWindow, MoELayer, MoEWeights

EXPERTS, HIDDEN, INTERMEDIATE, TOP_K, MAX_TOKENS, ROUNDS = 8, 256, 128, 2, 64, 4


def random_weights(name, experts, dtype):
    """The weights of a layer with the given experts, the same on every rank; one shared expert."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape, np.float32) * np.float32(shape[-2] ** -0.5)
    return MoEWeights.from_numpy(name, {
        "router": normal(HIDDEN, EXPERTS),
        "gate_up": normal(EXPERTS, HIDDEN, 2 * INTERMEDIATE)[experts],
        "down": normal(EXPERTS, INTERMEDIATE, HIDDEN)[experts],
        "shared_gate_up": normal(1, HIDDEN, 2 * INTERMEDIATE),
        "shared_down": normal(1, INTERMEDIATE, HIDDEN),
    }, dtype)


def make_window(max_tokens_per_rank, dtype):
    """A window for so many tokens of a rank at a time; their number decides the window's size."""
    return ExpertWindow.create(moe_expert_num=EXPERTS, hidden_size=HIDDEN, top_k=TOP_K, dtype=dtype,
                               max_tokens_per_rank=max_tokens_per_rank)


def main():
    ms.set_context(mode=ms.GRAPH_MODE)
    if "MS_ROLE" in os.environ:  # started by msrun
        communication.init("mccl")
    for dtype in (ms.float32, ms.float16, ms.bfloat16):
        with make_window(MAX_TOKENS, dtype) as window, make_window(MAX_TOKENS // ROUNDS, dtype) as small_window:
            first = window.ep_rank_id * window.local_expert_num
            own = random_weights("parallel", slice(first, first + window.local_expert_num), dtype)
            dense = DenseMoELayer(random_weights("dense", slice(None), dtype), TOP_K)
            x = np.random.default_rng(window.ep_rank_id).standard_normal((MAX_TOKENS - window.ep_rank_id, HIDDEN))
            x = Tensor(x, dtype)
            expected = dense(x).asnumpy()
            for name, used, layer in (
                    ("prefill", window, MoELayer(window, own, "prefill")),
                    ("decode", window, MoELayer(window, own, "decode")),
                    (f"prefill in {ROUNDS} rounds", small_window,
                     MoELayer(small_window, own, "prefill", max_tokens=MAX_TOKENS))):
                y = layer(x).asnumpy()
                same = (y == expected).all(axis=1).sum()
                print(f"rank {window.ep_rank_id} of {window.ep_world_size}, {dtype}, {name}: {same} of {len(y)} "
                      f"tokens have the dense layer's bits, combine copied {used.stats()['copied_bytes']} bytes")


if __name__ == "__main__":
    main()
