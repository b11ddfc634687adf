"""Times and bytes in window.stats(): none unless `keep_stats` asks for them."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_moe_comm import ExpertWindow, MoEDispatcher

SHAPE = {"moe_expert_num": 4, "hidden_size": 32, "top_k": 2, "max_tokens_per_rank": 8, "dtype": ms.float32}


def one_step(window, phase):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    dispatcher = MoEDispatcher(window, phase)
    rows, _, handle = dispatcher.dispatch(Tensor(np.ones((8, 32), np.float32)), Tensor(np.zeros((8, 2), np.int32)))
    dispatcher.combine(rows, None, handle).asnumpy()


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("block_dim", [1, 3])
def test_times_of_the_phases_are_part_of_the_operators(phase, block_dim):
    with ExpertWindow.create(**SHAPE, keep_stats=True, block_dim=block_dim) as window:
        before = None
        for _ in range(3):
            one_step(window, phase)
            stats, timers = window.stats(), window.timers()
            for op, phases in stats["seconds"].items():
                assert 0 < sum(phases.values()) <= timers[op]
                assert before is None or all(phases[name] >= before[op][name] for name in phases)
            before = stats["seconds"]
        assert stats["waited"] == {phase: [0.0] for phase in ("counts", "arrived", "ready", "handed")} or block_dim > 1
        assert stats["sent_rows"] == stats["sent_bytes"] == stats["read_bytes"] == 0  # there are no other ranks


def test_off_by_default():
    with ExpertWindow.create(**SHAPE) as window:
        one_step(window, "decode")
        assert not {"seconds", "waited", "sent_rows"} & window.stats().keys()


def test_keep_stats_is_a_bool():
    with pytest.raises(TypeError, match="'keep_stats' must be True or False, but got 1"):
        ExpertWindow.create(**SHAPE, keep_stats=1)


def test_resume_is_refused():
    with ExpertWindow.create(**SHAPE) as window:
        with pytest.raises(ValueError, match="'rank_mask' must have rank 0, which calls it, among those that go on"):
            window.resume([False])
    with pytest.raises(RuntimeError, match="must be open and on the CPU"):
        window.resume([True])
