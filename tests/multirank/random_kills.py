"""A rank is killed at a random moment, many times over: no hang, no wrong result, nothing left behind.

Three ranks play known steps, prefill and decode mixed, as fast as they can; one of them is killed. The others compare
every result to the bit until the error, which must name the dead rank. Then their window must refuse operators by name,
and a new window must work in the same processes. tests/faults.sh runs it. The seed decides which rank is killed and
after how long; the machine decides where in a kernel that is.
"""

import argparse
import collections
import gc
import mmap
import multiprocessing
import os
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mindspore as ms
import numpy as np

from ms_moe_comm import ExpertWindow, MoEDispatcher
from multirank.forks import Forks
from multirank.known_steps import KnownStep, first_line, join, refused, rows_of, use_cpu
from multirank.shared_memory import mapped_segments, names, wait_until_only

RANKS, EXPERTS, HIDDEN, TOP_K, MAX_TOKENS = 3, 12, 512, 4, 64
TIMEOUT, LONGEST_LIFE, HANG_SECONDS = 2.0, 0.4, 90
MISSED = {"counts": "before its counts were out", "arrived": "after that, before its rows were all there",
          "handed": "after that, before it had handed over rows",
          "ready": "after that, before its outputs could be read"}

MISSED_RANKS = re.compile(r"'moe_\w+_(?:dispatch|combine)' on rank \d of 3, epoch \d+: .*\(phase '(\w+)'\) of ranks? "
                          r"([\d, ]+)\.")


class Stepper:
    """A window, and steps played on it in an order that all ranks know."""

    def __init__(self, group, seed):
        self.window = ExpertWindow.create(moe_expert_num=EXPERTS, hidden_size=HIDDEN, top_k=TOP_K, dtype=ms.float32,
                                          max_tokens_per_rank=MAX_TOKENS, group=group, timeout=TIMEOUT,
                                          balanced_prefill=bool(seed % 2))
        self._rng = np.random.default_rng(seed)
        self._dispatchers = [MoEDispatcher(self.window, phase) for phase in ("prefill", "decode")]
        self._memory = rows_of(self.window)
        self._steps = [KnownStep(self._rng, group.rank, self._rng.integers(0, MAX_TOKENS + 1, group.size).tolist(),
                                 EXPERTS, TOP_K, HIDDEN, self.window.capacity) for _ in range(6)]

    def step(self):
        """Plays and checks one step."""
        number, phase = self._rng.integers(len(self._steps)), self._rng.integers(2)
        self._steps[number].play(self._dispatchers[phase], self._memory)


def rank_until_a_death(rank, address, seed, victim, progress):
    """Plays steps until a peer is found dead; then starts again without it. Returns what it saw."""
    use_cpu()
    seen = until_the_error(rank, address, seed, np.frombuffer(progress, np.int64))
    gc.collect()
    seen["mapped"] = mapped_segments()
    survivors = [other for other in range(RANKS) if other != victim]
    with join(address + " again", survivors.index(rank), len(survivors)) as group:
        stepper = Stepper(group, seed)
        for _ in range(3):
            stepper.step()
        stepper.window.close()
    return seen


def until_the_error(rank, address, seed, progress):
    with join(address, rank, RANKS) as group:
        stepper = Stepper(group, seed)
        group.all_gather([0])
        with stepper.window:
            try:
                while True:
                    stepper.step()
                    progress[rank] += 1
            except RuntimeError as error:
                seen = {"time": time.monotonic(), "text": first_line(error), "refusal": ""}
            try:
                stepper.step()
            except RuntimeError as error:
                seen["refusal"] = first_line(error)
            return seen


def kill(number, seed):
    """Returns the phase that missed the victim, the steps that it had done, and the seconds to the slowest error."""
    rng = np.random.default_rng([seed, number])
    victim, life = int(rng.integers(RANKS)), rng.uniform(0, LONGEST_LIFE)
    address = f"random kills {os.getpid()} {time.monotonic_ns()}"
    progress = mmap.mmap(-1, mmap.PAGESIZE)  # shared with the ranks
    steps = np.frombuffer(progress, np.int64)
    ranks = Forks(RANKS, rank_until_a_death, address, number, victim, progress)
    deadline = time.monotonic() + HANG_SECONDS
    while steps[:RANKS].min() == 0 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(life)
    ranks.kill(victim)
    killed = time.monotonic()
    seen = ranks.wait(HANG_SECONDS, killed=[victim])
    missed = {rank: MISSED_RANKS.match(report["text"]) for rank, report in seen.items()}
    for rank, report in seen.items():
        where = f"kill {number}, rank {victim} after {life:.3f} s: rank {rank}: {report}"
        # A rank that waits for the dead rank keeps others waiting, and these name both. But a helper's deadline may be
        # later: then a rank that waits for rows from the helper names the helper, and the helper names the dead rank.
        told = missed[rank]
        assert told, where
        missing = told[2].split(", ")
        helper = missed.get(int(missing[0])) if told[1] == "arrived" and len(missing) == 1 else None
        assert str(victim) in missing or (helper and helper[1] == "handed" and helper[2] == str(victim)), where
        assert refused(report["refusal"]), where
        assert not report["mapped"], where
    return told[1], int(steps[victim]), max(report["time"] for report in seen.values()) - killed


def attempt(arguments):
    """Runs in a pool's process."""
    try:
        return kill(*arguments)
    except AssertionError as error:
        return str(error)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    parser.add_argument("--jobs", type=int, default=3, help="groups of ranks at a time")
    arguments = parser.parse_args()
    print(f"{arguments.kills} kills, seed {arguments.seed}, {RANKS} ranks, timeout {TIMEOUT:g} s", flush=True)
    before, start = names(), time.monotonic()
    with multiprocessing.get_context("fork").Pool(arguments.jobs) as pool:
        results = list(pool.imap(attempt, [(number, arguments.seed) for number in range(arguments.kills)]))
    failures = [result for result in results if isinstance(result, str)]
    for failure in failures:
        print(failure)
    good = [result for result in results if not isinstance(result, str)]
    missed = collections.Counter(phase for phase, _, _ in good)
    for phase, when in MISSED.items():
        print(f"  {missed[phase]:3} died {when} (phase {phase!r})")
    if good:
        steps = [steps for _, steps, _ in good]
        print(f"steps done by the killed, each with all bits right on all ranks: {min(steps)} to {max(steps)}, "
              f"{sum(steps)} in all; slowest error {max(seconds for _, _, seconds in good):.2f} s after the kill")
    left = wait_until_only(before)
    print(f"{arguments.kills} kills in {time.monotonic() - start:.0f} s, {len(failures)} failed; "
          f"left in /dev/shm: {left or 'nothing'}")
    sys.exit(bool(failures or left))


if __name__ == "__main__":
    main()
