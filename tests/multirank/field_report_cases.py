"""Situations that users of comparable packages reported: each function runs on every rank and raises if it is wrong."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from ms_moe_comm import ExpertWindow, MoEDispatcher, reference
from multirank.known_steps import KnownStep, check, rows_of, use_cpu
from multirank.routing_steps import memory_of
from multirank.shared_memory import mapped_segments

EXPERTS, HIDDEN, TOP_K, MAX_TOKENS = 12, 32, 2, 8
PHASES = ("prefill", "decode")


def make_window(group, **changes):
    use_cpu()
    return ExpertWindow.create(**{"moe_expert_num": EXPERTS, "hidden_size": HIDDEN, "top_k": TOP_K, "dtype": ms.float32,
                                  "max_tokens_per_rank": MAX_TOKENS, "group": group, "timeout": 60.0, **changes})


def draw(window, count, token_nums, seed=0):
    rng = np.random.default_rng(seed)
    return [KnownStep(rng, window.ep_rank_id, token_nums, EXPERTS, TOP_K, HIDDEN, window.capacity)
            for _ in range(count)]


def one_rank_has_no_tokens(group, steps):
    """The last rank never has a token, the others always do. It runs its experts for them, step after step."""
    with make_window(group) as window:
        dispatchers, memory = [MoEDispatcher(window, phase) for phase in PHASES], rows_of(window)
        known = draw(window, 8, [MAX_TOKENS] * (group.size - 1) + [0])
        if group.rank == group.size - 1:
            assert known[0].y.shape == (0, HIDDEN)
        for number in range(steps):
            known[number % 8].play(dispatchers[number % 3 % 2], memory)
        assert window.stats()["epoch"] == window.stats()["exchange"] == steps


def one_rank_has_too_many_tokens(group, phase):
    """A rank reads the limit before anything is launched, so it can try again with fewer while the others wait."""
    with make_window(group) as window:
        dispatcher, memory = MoEDispatcher(window, phase), rows_of(window)
        first, second = draw(window, 2, [MAX_TOKENS] * group.size)
        first.play(dispatcher, memory)
        if group.rank == 1:
            tokens = MAX_TOKENS + 1
            told = (f"'moe_{phase}_dispatch'.* T, dimension 0 of 'x', is {tokens}, but the window was created for at "
                    f"most {MAX_TOKENS} tokens per rank")
            with pytest.raises(ValueError, match=told):
                dispatcher.dispatch(Tensor(np.zeros((tokens, HIDDEN), np.float32)),
                                    Tensor(np.zeros((tokens, TOP_K), np.int32)))
        second.play(dispatcher, memory)
        assert window.stats()["epoch"] == 2


def two_dispatches_in_flight(group, phase, steps):
    """Each has a window of its own: the second may begin before the first is combined."""
    with make_window(group) as one, make_window(group) as two:
        windows = [(MoEDispatcher(window, phase), rows_of(window), draw(window, steps, [MAX_TOKENS] * group.size, seed))
                   for seed, window in enumerate((one, two))]
        for number in range(steps):
            handles = [known[number].dispatch(dispatcher, memory) for dispatcher, memory, known in windows]
            for (dispatcher, _, known), handle in zip(windows, handles, strict=True):
                known[number].combine(dispatcher, handle)


def more_cores_than_there_are(group, block_dim):
    """All blocks of all ranks wait for each other, although only few of them run at a time."""
    with make_window(group, block_dim=block_dim) as window:
        memory = rows_of(window)
        for phase in PHASES:
            for step in draw(window, 5, [MAX_TOKENS] * group.size):
                step.play(MoEDispatcher(window, phase), memory)


def rows_beyond_the_capacity_are_dropped(group, phase, capacity):
    """The same rows are dropped each time, and each of them is counted; the other rows are right."""
    rng = np.random.default_rng(2)
    x = [rng.standard_normal((MAX_TOKENS, HIDDEN), np.float32) for _ in range(group.size)]
    ids = [rng.integers(0, EXPERTS // 2 + 2, (MAX_TOKENS, TOP_K)).astype(np.int32) for _ in range(group.size)]
    scales = rng.random((MAX_TOKENS, TOP_K), np.float32)
    outputs = [rng.standard_normal((capacity, HIDDEN), np.float32) for _ in range(group.size)]
    experts = reference.Group(group.size, EXPERTS)
    routed = reference.route(experts, ids, capacity=capacity)
    assert routed.dropped[:, 0].sum() > capacity and not routed.dropped[:, 1].any()
    rows = np.array([x[source][token] for source, token, _ in routed.rows[group.rank]], np.float32)
    index = routed.expand_idx[group.rank]
    y = reference.combine(outputs, ids[group.rank], scales, index, EXPERTS, "float32", group=experts, rank=group.rank)
    with make_window(group, capacity=capacity, overflow="drop") as window:
        dispatcher, memory = MoEDispatcher(window, phase), rows_of(window)
        for step in (1, 2, 3):
            memory[:] = np.nan
            _, nums, handle = dispatcher.dispatch(Tensor(x[group.rank]), Tensor(ids[group.rank]))
            check("expert_token_nums", nums.asnumpy(), routed.expert_token_nums[group.rank])
            check("expand_idx", handle[1].asnumpy(), index)
            check("expand_x", memory[:len(rows)], rows)
            assert np.isnan(memory[len(rows):]).all(), "a row past the total was written"
            check("y", dispatcher.combine(Tensor(outputs[group.rank]), Tensor(scales), handle).asnumpy(), y)
            stats = window.stats()
            assert stats["dropped_from"] == (step * routed.dropped[:, group.rank]).tolist()
            assert stats["dropped_to"] == (step * routed.dropped[group.rank]).tolist()


def everybody_to_the_experts_of_one_rank(group, phase):
    """The worst routing within the stated limits fills the default capacity to the last row."""
    local = EXPERTS // group.size
    with make_window(group) as window:
        step = draw(window, 1, [MAX_TOKENS] * group.size)[0]
        rng = np.random.default_rng(3)
        x = [rng.standard_normal((MAX_TOKENS, HIDDEN), np.float32) for _ in range(group.size)]
        ids = [np.stack([rng.permutation(local)[:TOP_K] for _ in range(MAX_TOKENS)]).astype(np.int32) for _ in x]
        rows, index, nums = reference.dispatch(x, ids, EXPERTS)
        assert [len(r) for r in rows] == [window.capacity] + [0] * (group.size - 1)
        dispatcher, memory = MoEDispatcher(window, phase), rows_of(window)
        memory[:] = np.nan
        _, got_nums, handle = dispatcher.dispatch(Tensor(x[group.rank]), Tensor(ids[group.rank]))
        check("expert_token_nums", got_nums.asnumpy(), nums[group.rank])
        check("expand_idx", handle[1].asnumpy(), index[group.rank])
        check("expand_x", memory[:len(rows[group.rank])], rows[group.rank])
        y = dispatcher.combine(window.rows, None, handle).asnumpy()
        check("y", y, reference.combine(rows, ids[group.rank], None, index[group.rank], EXPERTS, "float32"))
        step.play(dispatcher, memory)


def any_mix_on_one_window(group, steps):
    """Prefill and decode, int8 or not, with or without a combine, in any order; nobody clears anything in between."""
    rng = np.random.default_rng(16)
    width = -(-HIDDEN // 32) * 32
    with make_window(group) as window:
        rows_memory, scales_memory = memory_of(window.rows), memory_of(window.scales)
        dispatchers = [(mode, MoEDispatcher(window, phase, quant_mode=mode)) for phase in PHASES for mode in (0, 2)]
        for _ in range(steps):
            token_nums = rng.integers(0, MAX_TOKENS + 1, group.size)
            mode, dispatcher = dispatchers[rng.integers(4)]
            x = [rng.standard_normal((tokens, HIDDEN), np.float32) for tokens in token_nums]
            ids = [rng.integers(-1, EXPERTS, (tokens, TOP_K)).astype(np.int32) for tokens in token_nums]
            outputs = [rng.standard_normal((window.capacity, HIDDEN), np.float32) for _ in token_nums]
            expand_x, index, nums = reference.dispatch(x, ids, EXPERTS)
            own, combines = expand_x[group.rank], rng.random() < 0.7
            rows_memory[:], scales_memory[:] = 0xFF, 0xFF
            _, got_nums, handle = dispatcher.dispatch(Tensor(x[group.rank]), Tensor(ids[group.rank]))
            check("expert_token_nums", got_nums.asnumpy(), nums[group.rank])
            check("expand_idx", handle[1].asnumpy(), index[group.rank])
            scales = scales_memory.view(np.float32)
            if mode:
                q, factors = reference.quantise_rows(own) if len(own) else (np.zeros((0, HIDDEN), np.int8), scales[:0])
                own = np.zeros((len(q), width), np.int8)
                own[:, :HIDDEN] = q
                check("dynamic_scales", scales[:len(q)], factors)
                scales = scales[len(q):]
            assert np.isnan(scales).all(), "a scale was written that is nobody's"
            check("expand_x", rows_memory[:own.nbytes], np.ascontiguousarray(own).view(np.uint8).reshape(-1))
            assert (rows_memory[own.nbytes:] == 0xFF).all(), "a row past the total was written"
            if combines:
                y = dispatcher.combine(Tensor(outputs[group.rank]), None, handle).asnumpy()
                check("y", y, reference.combine(outputs, ids[group.rank], None, index[group.rank], EXPERTS, "float32"))
        assert window.stats()["epoch"] == steps


class RoundTrip(nn.Cell):
    """Experts that return their rows."""

    def __init__(self, window, phase):
        super().__init__()
        self.dispatcher = MoEDispatcher(window, phase)

    def construct(self, x, expert_ids):
        rows, _, handle = self.dispatcher.dispatch(x, expert_ids)
        return self.dispatcher.combine(rows, None, handle), rows


def nothing_is_allocated_after_creation(group):
    """The memory of all ranks is allocated and mapped before a graph is compiled, and it does not move."""
    with make_window(group) as window:
        ms.set_context(mode=ms.GRAPH_MODE)
        at_creation = mapped_segments()
        assert len({line.split()[-1] for line in at_creation}) > 0
        sizes = [int(end, 16) - int(begin, 16) for begin, end in (line.split()[0].split("-") for line in at_creation)]
        needed = window.memory_report().total
        assert sum(sizes) >= group.size * needed, (sizes, needed)
        tensors = (window.rows, window.quantised_rows, window.scales, window.outputs, window.control)
        addresses = [tensor.data_ptr() for tensor in tensors]
        x = np.full((MAX_TOKENS, HIDDEN), group.rank + 1, np.float32)
        ids = (np.arange(MAX_TOKENS)[:, None] + np.array([0, EXPERTS // 2])) % EXPERTS
        for phase in PHASES:
            cell = RoundTrip(window, phase)
            for _ in range(2):
                y, _ = cell(Tensor(x), Tensor(ids.astype(np.int32)))
                check("y", y.asnumpy(), TOP_K * x)
        assert mapped_segments() == at_creation, "memory was mapped, or given back, by a step"
        assert [tensor.data_ptr() for tensor in tensors] == addresses


def y_is_complete(group, phase):
    """All ranks hold the same tokens, as with tensor parallelism: each gets the whole sum, with the same bits."""
    rng = np.random.default_rng(20)
    x = rng.standard_normal((MAX_TOKENS, HIDDEN), np.float32)
    ids = np.stack([rng.permutation(EXPERTS)[:TOP_K] for _ in range(MAX_TOKENS)]).astype(np.int32)
    assert (ids.min(axis=1) // (EXPERTS // group.size) != ids.max(axis=1) // (EXPERTS // group.size)).any()
    scales = rng.random((MAX_TOKENS, TOP_K), np.float32)
    factors = np.exp2(rng.integers(-3, 4, EXPERTS)).astype(np.float32)  # expert e multiplies by factors[e]
    dense = np.zeros_like(x)
    for k in range(TOP_K):
        dense += scales[:, k, None] * (factors[ids[:, k], None] * x)
    with make_window(group) as window:
        dispatcher, memory = MoEDispatcher(window, phase), rows_of(window)
        memory[:] = np.nan
        rows, nums, handle = dispatcher.dispatch(Tensor(x), Tensor(ids))
        local = window.local_expert_num
        own = np.repeat(factors[group.rank * local:(group.rank + 1) * local], nums.asnumpy())
        outputs = np.full(rows.shape, np.nan, np.float32)
        outputs[:len(own)] = rows.asnumpy()[:len(own)] * own[:, None]
        y = dispatcher.combine(Tensor(outputs), Tensor(scales), handle).asnumpy()
        check("y", y, dense)
        on_all = group.all_gather(y.view(np.int32).reshape(-1).astype(np.int64))
        assert (on_all == on_all[0]).all(), "the ranks have different sums"


def ranks_disagree_about_quantisation(group, phase):
    """One rank sends rows in another form than its peer: both get an error before a row is written."""
    with make_window(group) as window:
        mode = (0, 2)[group.rank]
        rows_memory = memory_of(window.rows)
        rows_memory[:] = 0xFF
        told = (f"was given other arguments than rank {1 - group.rank}: quant_mode is {mode} here and {2 - mode} "
                "there. Give all ranks the same")
        with pytest.raises(RuntimeError, match=told):
            MoEDispatcher(window, phase, quant_mode=mode).dispatch(
                Tensor(np.ones((2, HIDDEN), np.float32)), Tensor(np.array([[0, EXPERTS - 1]] * 2, np.int32)))
        assert (rows_memory == 0xFF).all(), "a row was written"
        group.all_gather([0])  # nobody leaves before all have seen the error
