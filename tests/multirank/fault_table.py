"""The fault table: a rank that is late, killed, or aborted by an error of its own, at each step of both operators.

Three ranks; rank 1 is the victim, in its third step, and ranks 0 and 2 must end with an error in bounded time. A trap
(traps.py) stops the victim at the exact step; the other ranks' windows show that it was there. Every result up to the
error is compared to the bit. Then the window must refuse operators by name, and the ranks that live make a new window
in the same processes, which must work. tests/faults.sh runs it; pytest runs it with `--short`.
"""

import argparse
import gc
import itertools
import multiprocessing
import os
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_moe_comm import ExpertWindow, MoEDispatcher
from multirank import traps
from multirank.forks import Forks
from multirank.known_steps import KnownStep, first_line, join, refused, rows_of, use_cpu
from multirank.shared_memory import mapped_segments, names, wait_until_only

RANKS, VICTIM = 3, 1
EXPERTS, HIDDEN, TOP_K, TOKENS = 600, 64, 4, 6  # with so many experts counts fill pages of their own: see Traps
TIMEOUT = 2.5
WARM_STEPS = 2  # both parities of the counts have been used
EPOCH = WARM_STEPS + 1
HANG_SECONDS = 90
PHASES = ("prefill", "decode")
FAULTS = ("late, in time", "late", "killed", "aborted")

# how long a rank is held at a step; None kills it
LATE = TIMEOUT + 2
HOLDS = {"late, in time": 0.4 * TIMEOUT, "late": LATE, "killed": None}
# "aborted": an error that the victim can have at the step, and where others are held so that its error comes first
ABORTS = {
    "before counts": ("an expert id out of range", {}),
    "between counts and rows": ("gives up on the counts of rank 0",
                                {0: ("before counts", LATE), 2: ("before counts", 0.5 * TIMEOUT)}),
    "before arrival": ("gives up on the rows of rank 0",
                       {0: ("before arrival", LATE), 2: ("between counts and rows", 0.5 * TIMEOUT)}),
    "before ready": ("a handle of the dispatch before", {}),
    "while reading": ("an expand_idx out of range", {}),
}


class Cell:
    """One cell of the table."""

    def __init__(self, phase, step, fault):
        self.phase, self.step, self.fault = phase, step, fault
        self.error, self.stops = ABORTS[step] if fault == "aborted" else ("", {VICTIM: (step, HOLDS[fault])})

    @property
    def survivors(self):
        return [rank for rank in range(RANKS) if not (self.fault == "killed" and rank == VICTIM)]

    @property
    def witnesses(self):
        """The ranks that did everything in time."""
        return [rank for rank in range(RANKS) if rank != VICTIM and LATE not in self.stops.get(rank, ())]


def make_window(group):
    return ExpertWindow.create(moe_expert_num=EXPERTS, hidden_size=HIDDEN, top_k=TOP_K, max_tokens_per_rank=TOKENS,
                               dtype=ms.float32, group=group, timeout=TIMEOUT)


def make_steps(rank, size, count, seed, capacity):
    rng = np.random.default_rng(seed)
    return [KnownStep(rng, rank, [TOKENS] * size, EXPERTS, TOP_K, HIDDEN, capacity, everywhere=True)
            for _ in range(count)]


# --- what a rank does ---

def rank_in_cell(rank, cell, address):
    """Runs into the fault, then starts again in the same process without the dead. Returns what it saw."""
    use_cpu()
    seen = until_the_error(rank, cell, address)
    gc.collect()
    seen["mapped"] = mapped_segments()
    survivors = cell.survivors
    with join(address + " again", survivors.index(rank), len(survivors)) as group, make_window(group) as window:
        dispatcher, memory = MoEDispatcher(window, cell.phase), rows_of(window)
        for step in make_steps(group.rank, group.size, 3, 7, window.capacity):
            step.play(dispatcher, memory)
    return seen


def until_the_error(rank, cell, address):
    with join(address, rank, RANKS) as group, make_window(group) as window:
        dispatcher, memory = MoEDispatcher(window, cell.phase), rows_of(window)
        steps = make_steps(rank, RANKS, WARM_STEPS + 2, 5, window.capacity)
        for step in steps[:WARM_STEPS - 1]:
            step.play(dispatcher, memory)
        before = steps[WARM_STEPS - 1].dispatch(dispatcher, memory)
        steps[WARM_STEPS - 1].combine(dispatcher, before)
        group.all_gather([0])

        def lay_for(operator):
            if rank in cell.stops and traps.STEPS[cell.stops[rank][0]][1] == operator:
                traps.Traps(window).lay(cell.stops[rank][0])

        mine = cell.error if rank == VICTIM else ""
        try:
            step = steps[WARM_STEPS]
            lay_for("dispatch")
            if mine == "an expert id out of range":
                ids = step.ids[rank].copy()
                ids[-1, -1] = EXPERTS
                dispatcher.dispatch(step.inputs[0], Tensor(ids))
            handle = step.dispatch(dispatcher, memory)
            lay_for("combine")
            if mine == "a handle of the dispatch before":
                handle = before
            if mine == "an expand_idx out of range":
                index = step.expand_idx.copy()
                index[-1, -1] = window.capacity
                handle = (handle[0], Tensor(index), *handle[2:])
            step.combine(dispatcher, handle)
            steps[WARM_STEPS + 1].play(dispatcher, memory)
        except RuntimeError as error:
            seen = {"time": time.monotonic(), "text": first_line(error), **victim_as_seen(window)}
            seen["rows"] = victims_rows(step, memory)
        else:
            return {"text": ""}
        try:
            steps[0].dispatch(dispatcher, memory)
        except RuntimeError as error:
            seen["refusal"] = first_line(error)
        return seen


def victim_as_seen(window):
    """How far the victim came in the step, by what it wrote to this rank's window."""
    layout = window._parameters.layout()
    read = lambda offset: int(window._provider.words(offset, 1)[0])  # noqa: E731
    counts = layout["counts"].offset + ((EPOCH & 1) * RANKS + VICTIM) * layout["counts"].pitch
    flags = {part: read(layout[part].offset + VICTIM * traps.LINE_BYTES) for part in ("arrived", "ready")}
    return {"counts": read(counts) >> 32, **flags}


def victims_rows(step, memory):
    """Whether "all", "none" or "some" of the victim's rows of this step are here."""
    got, expected = memory[:len(step.rows)][step.sources == VICTIM], step.rows[step.sources == VICTIM]
    if np.array_equal(got, expected):
        return "all"
    return "none" if np.isnan(got).all() else "some"


# --- what is expected ---

# step -> what a peer's window shows of a victim that stopped at it: the epochs of its counts and flags, and its rows
PLACES = {
    "before counts": {"counts": EPOCH - 2, "arrived": EPOCH - 1, "rows": "none"},
    "between counts and rows": {"counts": EPOCH, "arrived": EPOCH - 1, "rows": "none"},
    "before arrival": {"counts": EPOCH, "arrived": EPOCH - 1, "rows": "all"},
    "before ready": {"arrived": EPOCH, "ready": EPOCH - 1},
    "while reading": {"ready": EPOCH},
}
AWAITED = {"before counts": "counts", "between counts and rows": "arrived", "before arrival": "arrived",
           "before ready": "ready", "while reading": "counts"}
GIVES_UP = {"before counts": "an expert id was out of range there",
            "between counts and rows": r"it waited in vain for the counts \(phase 'counts'\) of rank 0",
            "before arrival": r"it waited in vain for the rows \(phase 'arrived'\) of rank 0",
            "before ready": r"its (plan|handle) was of another dispatch",
            "while reading": "an expand_idx was out of range there"}


def expect(condition, cell, text):
    if not condition:
        raise AssertionError(f"{cell.phase}, {cell.step}, {cell.fault}: {text}")


def check_cell(cell, seen):
    """Raises AssertionError, which says what is wrong, unless every rank saw what it should."""
    operator = "combine" if cell.step == "before ready" else "dispatch"
    epoch = EPOCH + (cell.step == "while reading")  # all could read: the next dispatch notices
    where = rf"'moe_{cell.phase}_{operator}' on rank \d of {RANKS}, epoch {epoch}: "
    for rank, report in seen.items():
        expect(not report.get("mapped"), cell, f"rank {rank} still maps {report.get('mapped')}")
        if cell.fault == "late, in time":
            expect(report["text"] == "", cell, f"rank {rank}: {report['text']}")
            continue
        expect(re.match(r"'moe_\w+' on rank \d of \d, epoch \d: ", report["text"]), cell, f"rank {rank} saw no error")
        expect(refused(report.get("refusal", "")), cell, f"rank {rank} used the window again after {report['text']}")
        if rank not in cell.witnesses:
            continue
        if cell.fault == "aborted":
            awaited = r"was waiting for .* \(phase '\w+'\) of rank \d when rank \d gave up: "
            told = rf"rank {VICTIM} gave up: {GIVES_UP[cell.step]}|rank \d gave up: rank {VICTIM} had given up"
            expect(re.search(where + awaited, report["text"]) and re.search(told, report["text"]), cell,
                   f"rank {rank}: {report['text']}")
            continue
        for name, value in PLACES[cell.step].items():
            expect(report[name] == value, cell, f"rank {rank} saw {name} {report[name]} of rank {VICTIM}, not {value}: "
                                                "it was elsewhere, or not stopped long enough")
        thing = rf"\(phase '{AWAITED[cell.step]}'\) of rank {VICTIM}\."
        told = rf"waited {TIMEOUT:g} s in vain for .* {thing}|gave up: it waited in vain for .* {thing}"
        expect(re.match(where, report["text"]) and re.search(told, report["text"]), cell,
               f"rank {rank}: {report['text']}")


def run_cell(cell):
    """Runs a cell. Returns what to print."""
    address = f"fault table {os.getpid()} {time.monotonic_ns()}"
    ranks = Forks(RANKS, rank_in_cell, cell, address)
    seen = ranks.wait(HANG_SECONDS, {rank: hold for rank, (_, hold) in cell.stops.items()})
    for rank, (step, _) in cell.stops.items():
        expect(rank in ranks.stopped, cell, f"rank {rank} never came to the step {step!r}")
    check_cell(cell, seen)
    return describe(cell, ranks.stopped, seen)


def describe(cell, stopped, seen):
    if cell.fault == "late, in time":
        return f"rank {VICTIM} was held for {HOLDS[cell.fault]:g} s: no error, all results right", []
    start = seen[VICTIM]["time"] if cell.fault == "aborted" else stopped[VICTIM]
    after = " and ".join(f"{seen[rank]['time'] - start:.3f} s on rank {rank}" for rank in cell.witnesses)
    left = f"refused afterwards; new window of {len(seen)} ranks right"
    messages = [f"rank {rank}: {seen[rank]['text']}" for rank in sorted(seen)]
    return f"{cell.error + ': ' if cell.error else ''}error after {after}; {left}", messages


def run(cell):
    """Runs a cell in a pool's process: returns its lines, or the error."""
    try:
        return run_cell(cell)
    except AssertionError as error:
        return None, [str(error)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few cells")
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time")
    arguments = parser.parse_args()
    cells = [Cell(*cell) for cell in itertools.product(PHASES, traps.STEPS, FAULTS)]
    if arguments.short:  # each step, each fault and each phase, but not each with each
        cells = [cell for number, cell in enumerate(cells) if (number // 4 + number % 4) % 4 == 2]
    before, start, failed = names(), time.monotonic(), 0
    traps.library()
    print(f"{RANKS} ranks, timeout {TIMEOUT:g} s; rank {VICTIM} fails in its dispatch and combine number {EPOCH}.")
    with multiprocessing.get_context("fork").Pool(arguments.jobs) as pool:
        for cell, (line, messages) in zip(cells, pool.imap(run, cells), strict=True):
            failed += line is None
            print(f"{cell.phase:8}{cell.step:24}{cell.fault:14}{line or 'FAILED'}", flush=True)
            for message in messages:
                print(f"        {message}", flush=True)
    left = wait_until_only(before)
    print(f"{len(cells)} cells in {time.monotonic() - start:.0f} s, {failed} failed; "
          f"left in /dev/shm: {left or 'nothing'}")
    sys.exit(bool(failed or left))


if __name__ == "__main__":
    main()
