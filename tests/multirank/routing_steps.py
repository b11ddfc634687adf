"""Steps of random routing through one window, every step checked to the bit against the reference."""

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_moe_comm import ExpertWindow, MoEDispatcher, reference
from tensors import DTYPES, memory_of, to_numpy


def encode(values, dtype):
    """float32 values that are exact in `dtype` -> their bytes."""
    if dtype == "bfloat16":
        return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    return values.astype(dtype).view(np.uint8)


class Step:
    """One random step, drawn alike on every rank: each rank knows the tokens and outputs of all."""

    def __init__(self, rng, world_size, experts, top_k, max_tokens, hidden, capacity, dtype, mixed):
        self.phases = [str(rng.choice(["prefill", "decode"]))] * world_size
        if mixed:  # each rank has a phase of its own
            self.phases = [str(phase) for phase in rng.choice(["prefill", "decode"], world_size)]
        self.top_k = int(rng.integers(1, top_k + 1))
        id_type = rng.choice([np.int32, np.int64])
        tokens = rng.integers(0, max_tokens + 1, world_size)
        if mixed:  # different lengths, as in serving
            tokens = np.array([t if phase == "prefill" else t % 4
                               for t, phase in zip(tokens, self.phases, strict=True)])
        if rng.random() < 0.1:
            tokens[rng.integers(world_size)] = 0
        hot = rng.random() < 0.2  # all tokens to few experts: many rows for one rank, none for others
        draw = (lambda t: np.stack([rng.permutation(experts)[:self.top_k] for _ in range(t)])  # noqa: E731
                if t else np.zeros((0, self.top_k)))
        if hot and self.top_k < experts:
            favourites = rng.permutation(experts)[:self.top_k]
            draw = lambda t: np.tile(favourites, (t, 1))  # noqa: E731
        self.ids = [draw(t).astype(id_type) for t in tokens]
        for ids in self.ids:  # some (token, k) go nowhere
            ids[rng.random(ids.shape) < 0.1] = -rng.integers(1, 100)
        masked = rng.integers(3)
        shape = [lambda t: None, lambda t: rng.random(t) < 0.8, lambda t: rng.random((t, self.top_k)) < 0.8][masked]
        self.masks = [shape(t) for t in tokens]
        normal = lambda *s: reference.round_to(rng.standard_normal(s, np.float32), dtype)  # noqa: E731
        self.x = [normal(t, hidden) for t in tokens]
        self.scales = [rng.random((t, self.top_k), np.float32) for t in tokens]
        self.plain_sum = rng.random() < 0.1
        self.shared = [normal(t, hidden) for t in tokens] if rng.random() < 0.3 else None
        self.outputs = [normal(capacity, hidden) for _ in range(world_size)]
        self.in_place = rng.random() < 0.5
        self.sums = rng.random() < 0.5


def check_moves(window, step, expand_idx, rank):
    """Checks `moved_rows`: a rank without help moves only its own rows, and nobody moves more than an equal share."""
    loads = [int((idx >= 0).sum()) for idx in expand_idx]
    helping = [load for load, phase in zip(loads, step.phases, strict=True) if phase == "prefill"]
    moved = sum(window.stats()["moved_rows"])
    if step.phases[rank] == "prefill":
        assert moved <= -(-sum(helping) // len(helping)), (moved, loads, step.phases)
    else:
        assert moved == loads[rank], (moved, loads, step.phases)


def run(group, seed, steps, experts, top_k, max_tokens, hidden, dtype, block_dim=1, capacity=None, mode="pynative",
        mixed=False, balanced=False):
    """Draws and checks `steps` steps; prints what was seen. `mixed`: each rank has a phase of its own."""
    ms.set_device("CPU")
    ms.set_context(mode=ms.PYNATIVE_MODE if mode == "pynative" else ms.GRAPH_MODE)
    rank, world_size = group.rank, group.size
    rng = np.random.default_rng(seed)
    rows_moved = copied = 0
    phases = {"prefill": 0, "decode": 0}
    with ExpertWindow.create(moe_expert_num=experts, hidden_size=hidden, top_k=top_k, max_tokens_per_rank=max_tokens,
                             dtype=DTYPES[dtype], group=group, timeout=60.0, block_dim=block_dim,
                             capacity=capacity, balanced_prefill=balanced) as window:
        dispatchers = {phase: MoEDispatcher(window, phase) for phase in phases}
        rows_memory, outputs_memory = memory_of(window.rows), memory_of(window.outputs)
        for number in range(steps):
            step = Step(rng, world_size, experts, top_k, max_tokens, hidden, window.capacity, dtype, mixed)
            phase = step.phases[rank]
            where = f"seed {seed}, step {number}, rank {rank} of {world_size}, {step.phases}, {dtype}"
            expand_x, expand_idx, nums = reference.dispatch(step.x, step.ids, experts, step.masks)
            rows_memory[:] = 0xFF  # NaN in every dtype; no peer writes before it has this rank's counts
            mask = None if step.masks[rank] is None else Tensor(step.masks[rank])
            dispatcher = dispatchers[phase]
            got_x, got_nums, handle = dispatcher.dispatch(
                Tensor(step.x[rank]).astype(DTYPES[dtype]), Tensor(step.ids[rank]), mask)
            np.testing.assert_array_equal(got_nums.asnumpy(), nums[rank], where)
            np.testing.assert_array_equal(handle[1].asnumpy(), expand_idx[rank], where)
            total = len(expand_x[rank])
            row_bytes = hidden * window.rows.itemsize
            np.testing.assert_array_equal(rows_memory[:total * row_bytes],
                                          encode(expand_x[rank], dtype).reshape(-1), where)
            assert (rows_memory[total * row_bytes:] == 0xFF).all(), f"a row past the total was written: {where}"
            assert got_x.data_ptr() == window.rows.data_ptr(), where
            if balanced:
                check_moves(window, step, expand_idx, rank)

            outputs_memory[:] = 0xFF  # every peer has sent the counts of this dispatch, so it has read the last outputs
            outputs = step.outputs[rank][:total]
            if step.in_place:
                outputs_memory[:total * row_bytes] = encode(outputs, dtype).reshape(-1)
                expert_outputs = window.outputs
            else:
                expert_outputs = Tensor(step.outputs[rank]).astype(DTYPES[dtype])
            scales = None if step.plain_sum else Tensor(step.scales[rank])
            shared = None if step.shared is None else Tensor(step.shared[rank]).astype(DTYPES[dtype])
            y = dispatcher.combine(expert_outputs, scales, handle, shared)
            expected = reference.combine(step.outputs, step.ids[rank], None if step.plain_sum else step.scales[rank],
                                         expand_idx[rank], experts, dtype,
                                         None if step.shared is None else step.shared[rank])
            np.testing.assert_array_equal(to_numpy(y).view(np.uint32), expected.view(np.uint32), where)
            assert window.stats()["copied_bytes"] == (0 if step.in_place else total * row_bytes), where
            rows_moved += total
            copied += not step.in_place
            phases[phase] += 1
    print(f"rank {rank} of {world_size}, {dtype}, seed {seed}: {steps} steps ({phases['prefill']} prefill, "
          f"{phases['decode']} decode, {copied} with outputs elsewhere), {rows_moved} rows received, all bits equal")
