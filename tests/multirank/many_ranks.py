"""More ranks and experts than public kernels take, whose table of the whole group has room for 64 x 512."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import os

import mindspore as ms
import numpy as np

from ms_moe_comm import ExpertWindow, MoEDispatcher
from multirank.forks import Forks
from multirank.known_steps import KnownStep, join, rows_of, use_cpu

RANKS, EXPERTS, HIDDEN, TOP_K, MAX_TOKENS = 66, 66 * 9, 8, 3, 2


def one_rank(rank, address):
    """A step of each phase, every result compared to the bit."""
    use_cpu()
    rng = np.random.default_rng(30)
    with join(address, rank, RANKS) as group, ExpertWindow.create(
            moe_expert_num=EXPERTS, hidden_size=HIDDEN, top_k=TOP_K, max_tokens_per_rank=MAX_TOKENS, dtype=ms.float32,
            group=group, timeout=120.0) as window:
        memory = rows_of(window)
        for phase in ("prefill", "decode"):
            KnownStep(rng, rank, rng.integers(0, MAX_TOKENS + 1, RANKS).tolist(), EXPERTS, TOP_K, HIDDEN,
                      window.capacity).play(MoEDispatcher(window, phase), memory)
        group.all_gather([0])  # nobody leaves while a peer still reads


def main():
    Forks(RANKS, one_rank, f"many ranks {os.getpid()}").wait(300)
    print(f"{RANKS} ranks, {EXPERTS} experts: all bits equal")


if __name__ == "__main__":
    main()
