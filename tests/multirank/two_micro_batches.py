"""Two overlapping micro-batches on two windows, interleaved in one graph: what each rank checks."""

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from ms_moe_comm import DenseMoELayer, ExpertWindow, MoEDispatcher, MoEWeights
from ms_moe_comm.layer import SwigluExperts, TopKRouter
from quantised import random_arrays
from tensors import DTYPES, fill_with_nan, to_numpy

EXPERTS, HIDDEN, INTERMEDIATE, TOP_K, MAX_TOKENS = 8, 64, 32, 3, 20


class MicroBatch(nn.Cell):
    """The two halves of one micro-batch's MoE layer; between them the window belongs to the micro-batch."""

    def __init__(self, window, weights, phase):
        super().__init__()
        self.router = TopKRouter(weights.router, window.top_k)
        self.dispatcher = MoEDispatcher(window, phase)
        self.experts = SwigluExperts(weights.gate_up, weights.down)
        self.outputs = window.outputs

    def dispatch(self, x):
        expert_scales, expert_ids = self.router(x)
        return self.dispatcher.dispatch(x, expert_ids), expert_scales

    def combine(self, dispatched):
        (expand_x, expert_token_nums, handle), expert_scales = dispatched
        outputs = self.experts(expand_x, expert_token_nums, self.outputs)
        return self.dispatcher.combine(outputs, expert_scales, handle)


class SideBySide(nn.Cell):
    """Every layer has both dispatches first, then both experts and combines."""

    def __init__(self, a, b):
        super().__init__()
        self.a, self.b = nn.CellList(a), nn.CellList(b)

    def construct(self, x_a, x_b):
        for a, b in zip(self.a, self.b):  # noqa: B905  # in a graph it takes no `strict`
            rows_a = a.dispatch(x_a)
            rows_b = b.dispatch(x_b)
            x_a = a.combine(rows_a)
            x_b = b.combine(rows_b)
        return x_a, x_b


class HalfALayerApart(nn.Cell):
    """One micro-batch computes while the other travels: A enters the next layer before B leaves this one."""

    def __init__(self, a, b):
        super().__init__()
        self.a, self.b = nn.CellList(a), nn.CellList(b)
        self.layer_num = len(a)

    def construct(self, x_a, x_b):
        rows_a = self.a[0].dispatch(x_a)
        for i in range(self.layer_num):
            rows_b = self.b[i].dispatch(x_b)
            x_a = self.a[i].combine(rows_a)
            if i + 1 < self.layer_num:
                rows_a = self.a[i + 1].dispatch(x_a)
            x_b = self.b[i].combine(rows_b)
        return x_a, x_b


ORDERS = {"side by side": SideBySide, "half a layer apart": HalfALayerApart}


def layer_weights(number, dtype, own=slice(None)):
    arrays = random_arrays(EXPERTS, HIDDEN, INTERMEDIATE, shared=False, seed=number)
    return MoEWeights.from_numpy(f"layer{number}", arrays | {key: arrays[key][own] for key in ("gate_up", "down")},
                                 DTYPES[dtype])


def make_window(group, dtype):
    return ExpertWindow.create(moe_expert_num=EXPERTS, hidden_size=HIDDEN, top_k=TOP_K, max_tokens_per_rank=MAX_TOKENS,
                               dtype=DTYPES[dtype], group=group, timeout=60.0)


def micro_batch(window, phase, dtype, layers):
    own = slice(window.ep_rank_id * window.local_expert_num, (window.ep_rank_id + 1) * window.local_expert_num)
    return [MicroBatch(window, layer_weights(number, dtype, own), phase) for number in range(layers)]


def run(group, dtype, phases, order, layers=2, steps=6):
    """Both micro-batches of every step must have the bits of dense layers; `phases` are those of A and of B."""
    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE)
    dense = nn.SequentialCell([DenseMoELayer(layer_weights(number, dtype), TOP_K) for number in range(layers)])
    with make_window(group, dtype) as window_a, make_window(group, dtype) as window_b:
        cell = ORDERS[order](micro_batch(window_a, phases[0], dtype, layers),
                             micro_batch(window_b, phases[1], dtype, layers))
        for step in range(1, steps + 1):
            # shapes alternate: two graphs, each run several times
            token_nums = (MAX_TOKENS, 7 + group.rank) if step % 2 else (5, MAX_TOKENS - group.rank)
            rng = np.random.default_rng((step, group.rank))
            x = [Tensor(rng.standard_normal((token_num, HIDDEN), np.float32)).astype(DTYPES[dtype])
                 for token_num in token_nums]
            for window in (window_a, window_b):
                fill_with_nan(window)
            group.all_gather([0])
            results = [to_numpy(y) for y in cell(*x)]
            group.all_gather([0])  # from now on no peer reads this rank's outputs
            for name, y, tokens in zip("AB", results, x, strict=True):
                np.testing.assert_array_equal(y.view(np.uint32), to_numpy(dense(tokens)).view(np.uint32),
                                              f"micro-batch {name}, step {step}")
            for window in (window_a, window_b):
                assert window.stats()["epoch"] == step * layers
                assert window.stats()["copied_bytes"] == 0
        assert len(cell.compile_cache) == 2
    print(f"rank {group.rank} of {group.size}, {dtype}, {' and '.join(phases)}, {order}: {steps} steps of {layers} "
          "layers, two micro-batches with the bits of dense layers")
