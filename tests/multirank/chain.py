"""Rank 2 is killed. Rank 0 comes late and waits for it. Rank 1 came earlier, waits for rank 0 and gives up first.

Rank 1 knows only that rank 0 is missing. Rank 0 must say that it was waiting for rank 2.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from mindspore import Tensor

from ms_moe_comm import MoEDispatcher
from multirank import traps
from multirank.fault_table import EXPERTS, HANG_SECONDS, HIDDEN, RANKS, TIMEOUT, make_window
from multirank.forks import Forks
from multirank.known_steps import first_line, join, use_cpu

DESTINATIONS = (2, 0, 0)  # where each rank's token goes


def rank_in_chain(rank, address, phase):
    use_cpu()
    with join(address, rank, RANKS) as group, make_window(group) as window:
        dispatcher = MoEDispatcher(window, phase)
        x = Tensor(np.ones((1, HIDDEN), np.float32))
        expert_ids = Tensor(np.full((1, 1), DESTINATIONS[rank] * EXPERTS // RANKS, np.int32))
        if rank != 1:
            traps.Traps(window).lay("between counts and rows")
        try:
            expand_x, _, handle = dispatcher.dispatch(x, expert_ids)
            dispatcher.combine(expand_x, None, handle)
        except RuntimeError as error:
            return first_line(error)
        return "no error"


def main():
    traps.library()
    for phase in ("prefill", "decode"):
        ranks = Forks(RANKS, rank_in_chain, f"chain {phase} {os.getpid()}", phase)
        seen = ranks.wait(HANG_SECONDS, {0: 0.4 * TIMEOUT, 2: None})
        print(*seen.values(), sep="\n")
        assert (f"'moe_{phase}_combine' on rank 1 of 3, epoch 1: waited {TIMEOUT:g} s in vain for the expert outputs "
                "(phase 'ready') of rank 0.") in seen[1]
        assert (f"'moe_{phase}_dispatch' on rank 0 of 3, epoch 1: was waiting for the rows (phase 'arrived') of rank 2 "
                "when rank 1 gave up: it waited in vain for the expert outputs (phase 'ready') of rank 0.") in seen[0]


if __name__ == "__main__":
    main()
