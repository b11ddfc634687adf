"""The ranks of a window must do the same in a dispatch, but one does not: every rank is told what differs, and who."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_moe_comm import ExpertWindow, MoEDispatcher
from multirank.known_steps import use_cpu
from tensors import memory_of

EXPERTS, HIDDEN = 6, 16
IDS = np.array([[0, EXPERTS - 1], [2, 3]], np.int32)  # every one of two or three ranks gets some


def make_window(group, **changes):
    use_cpu()
    return ExpertWindow.create(**{"moe_expert_num": EXPERTS, "hidden_size": HIDDEN, "top_k": 2, "dtype": ms.float32,
                                  "max_tokens_per_rank": 4, "group": group, "timeout": 60.0, **changes})


def dispatch(dispatcher, **arguments):
    return dispatcher.dispatch(Tensor(np.ones((len(IDS), HIDDEN), np.float32)), Tensor(IDS), **arguments)


def some_keep_a_plan(group, keepers, balanced):
    """Ranks without a plan learn that the keepers send no counts; keepers learn that the other ranks have given up."""
    with make_window(group, balanced_prefill=balanced) as window:
        dispatcher = MoEDispatcher(window, "prefill")
        _, _, handle = dispatch(dispatcher)
        dispatcher.combine(window.outputs, None, handle).asnumpy()
        keeps = group.rank in keepers
        others = "|".join(str(rank) for rank in range(group.size) if (rank in keepers) != keeps)
        if keeps:
            told = f"when rank ({others}) gave up: its arguments were not those of rank ({'|'.join(map(str, keepers))})"
        else:
            told = (rf"was given other arguments than rank ({others}).*: that one keeps its plan, this one does not|"
                    "gave up: its arguments were not those of rank")
        with pytest.raises(RuntimeError, match=told):
            dispatch(dispatcher, kept_handle=handle if keeps else None)
        group.all_gather([0])  # nobody leaves before all have seen the error


def smooth_factors_on_one_rank(group, phase):
    with make_window(group, balanced_prefill=True) as window:
        rows_memory = memory_of(window.rows)
        rows_memory[:] = 0xFF
        scales = Tensor(np.ones(HIDDEN, np.float32)) if group.rank == 0 else None
        told = rf"other arguments than rank {1 - group.rank}: scales \(smooth factors\)"
        with pytest.raises(RuntimeError, match=told):
            dispatch(MoEDispatcher(window, phase, quant_mode=2), scales=scales)
        assert (rows_memory == 0xFF).all(), "a row was written"
        group.all_gather([0])


def quantisation_in_unlike_phases(group, balanced):
    """Phases may differ, but quant_mode may not."""
    with make_window(group, balanced_prefill=balanced) as window:
        mode, phase = ((0, "decode"), (2, "prefill"))[group.rank]
        with pytest.raises(RuntimeError, match=f"quant_mode is {mode} here and {2 - mode} there"):
            dispatch(MoEDispatcher(window, phase, quant_mode=mode))
        group.all_gather([0])
