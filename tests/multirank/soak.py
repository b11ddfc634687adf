"""Two ranks dispatch and combine a great many times, across the wrap of the epoch's 32 low bits.

The epoch of a counts word has 32 bits. Both ranks set their windows' epoch so that it passes 2^32 in the middle of the
run. Prefill and decode are mixed, T varies from 0 to 4 and differs between the ranks, and every result of every step is
compared to the bit. The processes' memory and open files must not grow, and nothing may be left in shared memory.
tests/soak.sh runs it; `--steps N` makes a short run.
"""

import argparse
import gc
import mmap
import os
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mindspore as ms
import numpy as np

from ms_moe_comm import ExpertWindow, MoEDispatcher, _lib
from multirank.forks import Forks
from multirank.known_steps import KnownStep, join, rows_of, use_cpu
from multirank.shared_memory import mapped_segments, names, wait_until_only

RANKS, EXPERTS, HIDDEN, TOP_K, MAX_TOKENS, KNOWN_STEPS = 2, 8, 16, 3, 4, 64
TIMEOUT = 60.0  # a loaded machine may stop a rank for a long time
WRAP = 1 << 32
REPORTS = 10
WARM_SHARE = 50  # after 1 / WARM_SHARE of the run the caches of MindSpore and Python are full
GROWTH_BYTES = 1 << 20  # allowed growth after that: a byte per step of the long run, less than any object


def rank_of_soak(rank, address, steps, first_epoch):
    """Plays `steps` steps; rank 0 prints the progress. Returns this rank's memory and open files on the way."""
    use_cpu()
    with join(address, rank, RANKS) as group:
        watched = play(group, steps, first_epoch)
        gc.collect()
        assert not mapped_segments(), "a closed window is still mapped"
        return watched


def play(group, steps, first_epoch):
    rng, chance = np.random.default_rng(steps), random.Random(steps)  # `chance` is faster for a single draw
    with ExpertWindow.create(moe_expert_num=EXPERTS, hidden_size=HIDDEN, top_k=TOP_K, max_tokens_per_rank=MAX_TOKENS,
                             dtype=ms.float32, group=group, timeout=TIMEOUT) as window:
        set_epoch(window, first_epoch)
        group.all_gather([0])  # on all ranks, before the first dispatch of any
        dispatchers = [MoEDispatcher(window, phase) for phase in ("prefill", "decode")]
        memory = rows_of(window)
        known = [KnownStep(rng, group.rank, rng.integers(0, MAX_TOKENS + 1, RANKS).tolist(), EXPERTS, TOP_K, HIDDEN,
                           window.capacity) for _ in range(KNOWN_STEPS)]
        watched, start, done = [], time.monotonic(), 0
        for until in sorted({steps // WARM_SHARE} | {steps * part // REPORTS for part in range(REPORTS + 1)}):
            for _ in range(until - done):
                chance.choice(known).play(chance.choice(dispatchers), memory)
            done = until
            watched.append((done, memory_bytes(), open_files()))
            if group.rank == 0:
                print_progress(done, steps, first_epoch, time.monotonic() - start, watched[-1])
        assert window.stats()["epoch"] == first_epoch + steps, window.stats()
        return watched


def set_epoch(window, epoch):
    """Sets the window as if there had been so many dispatches and exchanges."""
    for name in ("epoch", "exchange"):
        window._provider.words(8 * _lib.window_fields()[name], 1)[0] = epoch


def memory_bytes():
    """Resident memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * mmap.PAGESIZE


def open_files():
    return len(os.listdir("/proc/self/fd"))


def print_progress(done, steps, first_epoch, seconds, watched):
    left = (steps - done) * seconds / done if done else 0
    print(f"{done:9} of {steps} steps, epoch 2^32 {first_epoch + done - WRAP:+}, {seconds:.0f} s, about {left:.0f} s "
          f"to go; rank 0: {watched[1] / 2**20:.1f} MiB, {watched[2]} open files", flush=True)


def grown(rank, watched, steps):
    """Says what has grown on a rank since it was warm; empty if nothing has."""
    (_, first_bytes, first_files), (_, last_bytes, last_files) = (
        next(entry for entry in watched if entry[0] >= steps // WARM_SHARE), watched[-1])
    print(f"rank {rank}: resident memory {first_bytes / 2**20:.2f} MiB when warm, {last_bytes / 2**20:.2f} MiB at the "
          f"end, at most {GROWTH_BYTES / 2**20:g} MiB more allowed; open files {first_files}, then {last_files}")
    return last_bytes - first_bytes > GROWTH_BYTES or last_files > first_files


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=7200, help="the longest that it may take")
    arguments = parser.parse_args()
    first_epoch = WRAP - arguments.steps // 2
    before = names()
    print(f"{arguments.steps} steps on {RANKS} ranks, prefill and decode, T from 0 to {MAX_TOKENS}, every result "
          "compared", flush=True)
    ranks = Forks(RANKS, rank_of_soak, f"soak {os.getpid()}", arguments.steps, first_epoch)
    seen = ranks.wait(arguments.seconds)
    leaks = sum(grown(rank, watched, arguments.steps) for rank, watched in seen.items())
    left = wait_until_only(before)
    print(f"no mismatch; {'a leak' if leaks else 'no leak'}; left in /dev/shm: {left or 'nothing'}")
    sys.exit(bool(leaks or left))


if __name__ == "__main__":
    main()
