"""What each rank does in one validation step on NPUs; started by launch.py. Prints what it saw, fails if it is wrong.

Every rank draws the tokens of all ranks from one seed, so each compares its results with the reference by itself.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, communication, nn

from ms_moe_comm import ExpertWindow, MoEDispatcher, MoELayer, MoEWeights, _ascend, reference

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this is a program, not a module of pytest's
from tensors import DTYPES, to_numpy

# tolerance of a result: half a unit in the last place of its dtype, or the rounding of a few fp32 operations
TOLERANCES = {"float32": 1e-6, "float16": 2**-10, "bfloat16": 2**-7}
# tolerance of a layer, relative to its largest element: rows and the experts' inner results are rounded to the dtype
LAYER_TOLERANCES = {"float32": 1e-5, "float16": 2**-8, "bfloat16": 2**-5}
TIMEOUT = 10.0


class RoundTrip(nn.Cell):
    """Dispatch, experts that return their rows, combine."""

    def __init__(self, window, phase):
        super().__init__()
        self.dispatcher = MoEDispatcher(window, phase)

    def construct(self, x, ids, scales):
        rows, nums, handle = self.dispatcher.dispatch(x, ids)
        return self.dispatcher.combine(rows, scales, handle), nums, handle[1]


class Routing:
    """Tokens of all ranks for one step."""

    def __init__(self, rng, size, experts, top_k, tokens, hidden, dtype):
        self.x = [reference.round_to(rng.standard_normal((tokens, hidden), np.float32), dtype) for _ in range(size)]
        self.ids = [np.stack([rng.permutation(experts)[:top_k] for _ in range(tokens)]).astype(np.int32)
                    for _ in range(size)]
        self.scales = [rng.random((tokens, top_k), np.float32) for _ in range(size)]


def check(routing, rank, experts, dtype, y, nums, expand_idx, where):
    """Indices and counts exactly, sums within tolerance. Returns how many elements of y differ in any bit."""
    rows, indices, expected_nums = reference.dispatch(routing.x, routing.ids, experts)
    expected = reference.combine(rows, routing.ids[rank], routing.scales[rank], indices[rank], experts, dtype)
    np.testing.assert_array_equal(nums.asnumpy(), expected_nums[rank], where)
    np.testing.assert_array_equal(expand_idx.asnumpy(), indices[rank], where)
    got = to_numpy(y)
    np.testing.assert_allclose(got, expected, TOLERANCES[dtype], TOLERANCES[dtype], err_msg=where)
    return int((got.view(np.uint32) != expected.view(np.uint32)).sum())


def exchange(rank, size, options):
    """Sends rows of lengths from 32 bytes on to every rank (a put by dispatch) and back (a get by combine)."""
    for row_bytes in (32, 96, 512, 4096, 4128, 14336, 57344):
        hidden = row_bytes // 4
        with ExpertWindow.create(moe_expert_num=size, hidden_size=hidden, top_k=1, max_tokens_per_rank=size,
                                 dtype=ms.float32, timeout=TIMEOUT, block_dim=options.block_dim) as window:
            dispatcher = MoEDispatcher(window, "decode")
            x = np.repeat(np.arange(size, dtype=np.float32)[:, None] + 100 * rank, hidden, 1)  # row t goes to rank t
            rows, nums, handle = dispatcher.dispatch(Tensor(x), Tensor(np.arange(size, dtype=np.int32)[:, None]))
            y = dispatcher.combine(rows, None, handle)
            window.check()
            assert nums.asnumpy().tolist() == [size]
            expected = np.repeat(100 * np.arange(size, dtype=np.float32)[:, None] + rank, hidden, 1)
            np.testing.assert_array_equal(rows.asnumpy()[:size], expected, f"rows of {row_bytes} bytes")
            np.testing.assert_array_equal(y.asnumpy(), x, f"rows of {row_bytes} bytes")
            print(f"rank {rank} of {size}: rows of {row_bytes} bytes to and from every rank right", flush=True)


def random_routing(rank, size, options):
    """Random routing in one mode: pynative, O0, O1, or captured and replayed.

    MindSpore 2.10 captures only one graph in a process, so capture takes one dtype and one phase.
    """
    if options.mode == "capture":  # MindSpore captures only if these settings and the cell's say that it is inference
        ms.set_context(jit_config={"jit_level": "O0", "infer_boost": "on"})
        ms.runtime.set_kernel_launch_capture(True)
        if not options.dispatch_threads:
            ms.runtime.dispatch_threads_num(2)  # the least for a capture; the default on few processors is smaller
    rng = np.random.default_rng(options.seed)
    experts, top_k, tokens, hidden = 4 * size, 4, 32, 512
    for dtype in options.dtypes:
        for phase in options.phases:
            with ExpertWindow.create(moe_expert_num=experts, hidden_size=hidden, top_k=top_k,
                                     max_tokens_per_rank=tokens, dtype=DTYPES[dtype], timeout=TIMEOUT,
                                     block_dim=options.block_dim) as window:
                addresses = [part.data_ptr() for part in (window.rows, window.outputs, window.control)]
                cell, differing = RoundTrip(window, phase), 0
                if options.mode == "capture":
                    cell.set_inputs(Tensor(shape=[None, hidden], dtype=DTYPES[dtype]),
                                    Tensor(shape=[None, top_k], dtype=ms.int32),
                                    Tensor(shape=[None, top_k], dtype=ms.float32))
                    cell.phase = "increment"
                launches = _ascend.launches()
                for step in range(options.steps):
                    routing = Routing(rng, size, experts, top_k, tokens, hidden, dtype)
                    if options.delays:
                        time.sleep(np.random.default_rng(step * size + rank).random() * 1e-3)
                    y, nums, indices = cell(Tensor(routing.x[rank]).astype(DTYPES[dtype]), Tensor(routing.ids[rank]),
                                            Tensor(routing.scales[rank]))
                    window.check()
                    differing += check(routing, rank, experts, dtype, y, nums, indices,
                                       f"{options.mode}, {phase}, {dtype}, step {step}")
                assert [part.data_ptr() for part in (window.rows, window.outputs, window.control)] == addresses
                assert window.stats()["epoch"] == options.steps
                launches = _ascend.launches() - launches
                if options.mode == "capture":
                    assert launches < 2 * options.steps, f"{launches} launches: nothing was captured, or never replayed"
                else:
                    assert launches == 2 * options.steps, f"{launches} launches in {options.steps} steps"
                print(f"rank {rank} of {size}: {options.mode}, {phase}, {dtype}: {options.steps} steps right, "
                      f"{launches} launches, {differing} elements not equal to the bit", flush=True)


def dense_layer(x, arrays, top_k):
    """A whole MoE layer in float64."""
    x, router, gate_up, down = (array.astype(np.float64) for array in
                                (x, arrays["router"], arrays["gate_up"], arrays["down"]))
    weights = np.exp(x @ router)
    ids = np.argsort(-weights, axis=1, kind="stable")[:, :top_k]
    scales = np.take_along_axis(weights, ids, axis=1)
    scales /= scales.sum(axis=1, keepdims=True)
    y = np.zeros_like(x)
    for k in range(top_k):
        gate, up = np.split(np.einsum("th,thi->ti", x, gate_up[ids[:, k]]), 2, axis=1)
        y += scales[:, k:k + 1] * np.einsum("ti,tih->th", gate / (1 + np.exp(-gate)) * up, down[ids[:, k]])
    return y


def moe_layer(rank, size, options):
    """A MoELayer against the dense layer in float64."""
    rng = np.random.default_rng(options.seed)
    local, top_k, tokens, hidden, inner = 4, 3, 16, 64, 32
    experts = local * size
    shapes = {"router": (hidden, experts), "gate_up": (experts, hidden, 2 * inner), "down": (experts, inner, hidden)}
    for dtype in DTYPES:
        arrays = {name: rng.standard_normal(shape, np.float32) * np.float32(shape[-2]**-0.5)
                  for name, shape in shapes.items()}
        arrays |= {name: reference.round_to(arrays[name], dtype) for name in ("gate_up", "down")}
        own = {name: array if name == "router" else array[rank * local:][:local] for name, array in arrays.items()}
        weights = MoEWeights.from_numpy("layer", own, DTYPES[dtype])
        for phase in ("prefill", "decode"):
            with ExpertWindow.create(moe_expert_num=experts, hidden_size=hidden, top_k=top_k,
                                     max_tokens_per_rank=tokens, dtype=DTYPES[dtype], timeout=TIMEOUT,
                                     block_dim=options.block_dim) as window:
                layer, worst = MoELayer(window, weights, phase), 0.0
                for step in range(options.steps):
                    token_num = (tokens - 3 * step - rank) % (tokens + 1)
                    x = reference.round_to(rng.standard_normal((size, tokens, hidden), np.float32)[rank], dtype)
                    x = x[:token_num]
                    y = to_numpy(layer(Tensor(x).astype(DTYPES[dtype])))
                    window.check()
                    expected = dense_layer(x, arrays, top_k)
                    if token_num:
                        worst = max(worst, np.abs(y - expected).max() / np.abs(expected).max())
                    assert worst <= LAYER_TOLERANCES[dtype], f"{options.mode}, {phase}, {dtype}, step {step}: {worst}"
                print(f"rank {rank} of {size}: layer, {options.mode}, {phase}, {dtype}: {options.steps} steps right, "
                      f"largest error {worst:.1e}", flush=True)


def read_back(rank, size, options):
    """Checks what the host reads from windows that keep statistics, drop rows, or balance a prefill."""
    rng = np.random.default_rng(options.seed)
    experts, top_k, tokens, hidden = 4 * size, 2, 16, 64
    for feature in ({"keep_stats": True}, {"overflow": "drop"}, {"balanced_prefill": True}):
        with ExpertWindow.create(moe_expert_num=experts, hidden_size=hidden, top_k=top_k, max_tokens_per_rank=tokens,
                                 dtype=ms.float32, timeout=TIMEOUT, block_dim=options.block_dim, **feature) as window:
            cell, routing = RoundTrip(window, "prefill"), Routing(rng, size, experts, top_k, tokens, hidden, "float32")
            for other in range(1, size):  # rank 0 has the most to send
                routing.x[other], routing.ids[other] = routing.x[other][:2], routing.ids[other][:2]
                routing.scales[other] = routing.scales[other][:2]
            y, nums, indices = cell(Tensor(routing.x[rank]), Tensor(routing.ids[rank]), Tensor(routing.scales[rank]))
            window.check()
            check(routing, rank, experts, "float32", y, nums, indices, str(feature))
            stats = window.stats()
            assert stats["epoch"] == 1, stats
            if "keep_stats" in feature:
                away = int((routing.ids[rank] // 4 != rank).sum())
                assert stats["sent_rows"] == away and len(stats["waited"]["counts"]) == size, stats
            if "overflow" in feature:
                assert stats["dropped_from"] == stats["dropped_to"] == [0] * size, stats
            if "balanced_prefill" in feature:
                assert len(stats["moved_rows"]) == size, stats
            print(f"rank {rank} of {size}: {', '.join(feature)}: statistics right", flush=True)


def killed_rank(rank, size, options):
    """The last rank is killed between two steps; the others must leave with an error that names it."""
    with ExpertWindow.create(moe_expert_num=size, hidden_size=64, top_k=1, max_tokens_per_rank=size, dtype=ms.float32,
                             timeout=TIMEOUT, block_dim=options.block_dim) as window:
        dispatcher = MoEDispatcher(window, "decode")
        x, ids = Tensor(np.ones((size, 64), np.float32)), Tensor(np.arange(size, dtype=np.int32)[:, None])
        dispatcher.dispatch(x, ids)
        window.check()
        if rank == size - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        start = time.monotonic()
        try:
            dispatcher.dispatch(x, ids)
            window.check()
        except RuntimeError as error:
            seconds = time.monotonic() - start
            print(f"rank {rank} of {size}: left after {seconds:.1f} s: {str(error).splitlines()[0]}", flush=True)
            assert seconds < TIMEOUT + 5 and f"rank {size - 1}" in str(error), str(error)
            os._exit(0)  # communication cannot be finalised without the dead rank
        raise AssertionError("dispatch ended as if nothing had happened")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("exchange", "random_routing", "moe_layer", "read_back", "killed_rank"))
    parser.add_argument("--mode", choices=("pynative", "O0", "O1", "capture"), default="pynative")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--phases", nargs="+", choices=("prefill", "decode"), default=["prefill", "decode"])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--block-dim", type=int, help="cores of an operator (default: all)")
    parser.add_argument("--delays", action="store_true", help="a random delay before each step")
    parser.add_argument("--dispatch-threads", type=int, help="of MindSpore's runtime; with few it runs graphs another "
                        "way (default: what it takes from the number of cores)")
    options = parser.parse_args()
    ms.set_device("Ascend", int(os.environ["MS_MOE_COMM_TEST_DEVICE"]))
    if options.dispatch_threads:
        ms.runtime.dispatch_threads_num(options.dispatch_threads)
    ms.set_context(mode=ms.PYNATIVE_MODE if options.mode == "pynative" else ms.GRAPH_MODE)
    if options.mode != "pynative":
        ms.set_context(jit_config={"jit_level": "O1" if options.mode == "O1" else "O0"})
    communication.init()
    globals()[options.step](communication.get_rank(), communication.get_group_size(), options)
    print("done", flush=True)
    os._exit(0)  # a thread of MindSpore's libmindspore_cluster.so may crash while the process ends (1 run in 30)


if __name__ == "__main__":
    main()
