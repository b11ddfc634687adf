"""Situations that users of comparable packages reported: each function runs on every rank and raises if it is wrong."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from multirank.known_steps import KnownStep, rows_of, use_cpu

from ms_moe_comm import ExpertWindow, MoEDispatcher

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
    """The last rank never has a token, the others always: it serves their experts, step after step."""
    with make_window(group) as window:
        dispatchers, memory = [MoEDispatcher(window, phase) for phase in PHASES], rows_of(window)
        known = draw(window, 8, [MAX_TOKENS] * (group.size - 1) + [0])
        if group.rank == group.size - 1:
            assert known[0].y.shape == (0, HIDDEN)
        for number in range(steps):
            known[number % 8].play(dispatchers[number % 3 % 2], memory)
        assert window.stats()["epoch"] == window.stats()["exchange"] == steps


def one_rank_has_too_many_tokens(group, phase):
    """It is told the limit before anything is launched, so that it may come again with fewer while the others wait."""
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
    """Each on a window of its own: the second may begin before the first is combined."""
    with make_window(group) as one, make_window(group) as two:
        windows = [(MoEDispatcher(window, phase), rows_of(window), draw(window, steps, [MAX_TOKENS] * group.size, seed))
                   for seed, window in enumerate((one, two))]
        for number in range(steps):
            handles = [known[number].dispatch(dispatcher, memory) for dispatcher, memory, known in windows]
            for (dispatcher, _, known), handle in zip(windows, handles):
                known[number].combine(dispatcher, handle)


def more_cores_than_there_are(group, block_dim):
    """All blocks of all ranks wait for each other though few of them run at a time."""
    with make_window(group, block_dim=block_dim) as window:
        memory = rows_of(window)
        for phase in PHASES:
            for step in draw(window, 5, [MAX_TOKENS] * group.size):
                step.play(MoEDispatcher(window, phase), memory)
