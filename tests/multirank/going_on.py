"""A group continues without some of its ranks: one was killed in the middle of a step, or one leaves by `rank_mask`.

Every step is checked to the bit against the reference, in which the experts of these ranks give nothing.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_moe_comm import ExpertWindow, MoEDispatcher, reference
from multirank import traps
from multirank.forks import Forks
from multirank.known_steps import check, first_line, join, rows_of, use_cpu

RANKS, HIDDEN, TOP_K, TOKENS = 4, 16, 3, 6
LOCAL = 600  # experts of a rank: with so many counts fill pages of their own, see Traps
EXPERTS = RANKS * LOCAL
TIMEOUT, HANG_SECONDS, STEPS = 2.0, 60, 12
WITHOUT_2 = (True, True, False, True)


def window_of(group, **options):
    return ExpertWindow.create(moe_expert_num=EXPERTS, hidden_size=HIDDEN, top_k=TOP_K, max_tokens_per_rank=TOKENS,
                               dtype=ms.float32, group=group, timeout=TIMEOUT, keep_stats=True, **options)


def play(window, rng, live, rank_mask=None, placement=None, take_part=True):
    """One step of either phase; returns how many pairs this rank lost."""
    rank = window.ep_rank_id
    phase = ("prefill", "decode")[rng.integers(2)]
    token_nums = rng.integers(0, TOKENS + 1, RANKS) * np.where(take_part, 1, live)
    x = [rng.standard_normal((tokens, HIDDEN), np.float32) for tokens in token_nums]
    limit = EXPERTS if placement is None else len(placement[1])
    ids = [rng.integers(0, limit, (tokens, TOP_K)).astype(np.int32) for tokens in token_nums]
    scales = [rng.random((tokens, TOP_K), np.float32) for tokens in token_nums]
    outputs = [rng.standard_normal((window.capacity, HIDDEN), np.float32) for _ in range(RANKS)]
    maps = {}
    if placement is not None:
        maps["logical_to_physical_map"], maps["logical_replica_count"] = placement
    routed = reference.route(reference.Group(RANKS, EXPERTS, live=live, **maps), ids)
    dispatcher = MoEDispatcher(window, phase)
    rows = rows_of(window)
    rows[:] = np.nan  # no peer writes before it has this rank's counts
    mask = None if rank_mask is None else Tensor(np.array(rank_mask))
    _, nums, handle = dispatcher.dispatch(Tensor(x[rank]), Tensor(ids[rank]), rank_mask=mask,
                                          **{name: Tensor(value) for name, value in maps.items()})
    check("expert_token_nums", nums.asnumpy(), routed.expert_token_nums[rank])
    check("expand_idx", handle[1].asnumpy(), routed.expand_idx[rank])
    expected = [x[source][token] for source, token, _ in routed.rows[rank]]
    check("expand_x", rows[:len(expected)], np.array(expected, np.float32).reshape(-1, HIDDEN))
    assert np.isnan(rows[len(expected):]).all(), "a row past the total was written"
    y = dispatcher.combine(Tensor(outputs[rank]), Tensor(scales[rank]), handle).asnumpy()
    check("y", y, reference.combine(outputs, routed.physical_expert_ids[rank], scales[rank], routed.expand_idx[rank],
                                    EXPERTS, "float32"))
    return routed.lost[rank]


def error_of(function, *arguments, **options):
    """The message of `function` when it fails."""
    try:
        function(*arguments, **options)
    except RuntimeError as error:
        return first_line(error)
    return "no error"


def goes_on_after_a_death(rank, address, step):
    """Rank 2 is killed at `step` of the third dispatch or its combine."""
    use_cpu()
    rng = np.random.default_rng(71)
    with join(address, rank, RANKS) as group, window_of(group) as window:
        for _ in range(2):
            play(window, rng, None)
        if rank == 2:
            traps.Traps(window).lay(step)
        told = []
        while not told:  # a rank that exchanged no rows with the dead one notices in the next step
            try:
                play(window, rng, None)
            except RuntimeError as error:
                told.append(first_line(error))
        window.resume(WITHOUT_2)
        rng = np.random.default_rng(72)  # the ranks have drawn differently since the failed step
        lost = sum(play(window, rng, WITHOUT_2, take_part=False) for _ in range(STEPS))
        stats = window.stats()
        assert (stats["lost_pairs"], stats["left_ranks"]) == (lost, 1), (stats, lost)
        assert lost > 0
        return told[0]


def leaves(rank, address, replicas):
    """`rank_mask` lacks rank 2 from the third step on; rank 2 still takes part in that step."""
    use_cpu()
    rng = np.random.default_rng(73)
    placement = None
    if replicas:  # logical expert e is on ranks e and e + 1
        experts = np.arange(RANKS, dtype=np.int32)
        placement = (np.stack([LOCAL * experts, (LOCAL * (experts + 1) + 1) % EXPERTS], 1).astype(np.int32),
                     np.full(RANKS, 2, np.int32))
    with join(address, rank, RANKS) as group, window_of(group) as window:
        for _ in range(2):
            play(window, rng, None, placement=placement)
        lost = play(window, rng, WITHOUT_2, rank_mask=WITHOUT_2, placement=placement)
        if rank == 2:
            return error_of(play, window, rng, WITHOUT_2)
        for step in range(STEPS):
            mask = WITHOUT_2 if step % 3 == 0 else None
            lost += play(window, rng, WITHOUT_2, rank_mask=mask, placement=placement, take_part=False)
        assert window.stats()["lost_pairs"] == lost
        assert (lost == 0) == replicas, lost
        return "went on"


def comes_back(rank, address):
    use_cpu()
    rng = np.random.default_rng(74)
    with join(address, rank, RANKS) as group, window_of(group) as window:
        play(window, rng, WITHOUT_2, rank_mask=WITHOUT_2)
        if rank == 2:
            return ""
        return error_of(play, window, rng, WITHOUT_2, rank_mask=(True,) * RANKS, take_part=False)


def disagree(rank, address):
    use_cpu()
    with join(address, rank, RANKS) as group, window_of(group) as window:
        return error_of(play, window, np.random.default_rng(75), None, rank_mask=WITHOUT_2 if rank == 1 else None)


def resumes_alone(rank, address):
    """Rank 1 does not call resume."""
    use_cpu()
    with join(address, rank, RANKS) as group, window_of(group) as window:
        if rank == 1:
            return ""
        return error_of(window.resume, WITHOUT_2 if rank != 2 else (True,) * RANKS)


def waits(rank, address):
    """The others wait for rank 2, which begins late: their stats charge the wait to it, and have the phases' times."""
    use_cpu()
    with join(address, rank, RANKS) as group, window_of(group) as window:
        if rank == 2:
            time.sleep(0.3)  # long enough for the others to wait for its counts
        play(window, np.random.default_rng(76), None)
        return window.stats()


def resumes_late(rank, address):
    """All ranks call resume, but at such distances that each gives up first and tries again."""
    use_cpu()
    with join(address, rank, RANKS) as group, window_of(group) as window:
        play(window, np.random.default_rng(77), None)
        time.sleep(0.9 * TIMEOUT * rank)
        failures = 0
        while True:
            try:
                window.resume((True,) * RANKS)
                break
            except RuntimeError:
                failures += 1
                assert failures < 10
        for step in range(STEPS):
            play(window, np.random.default_rng(78 + step), None)
        return failures


def run(name, function, *arguments, killed=None):
    ranks = Forks(RANKS, function, f"{name} {os.getpid()}", *arguments)
    seen = ranks.wait(HANG_SECONDS, {} if killed is None else {killed: None})
    for rank, text in sorted(seen.items()):
        print(f"{name}, rank {rank}: {text}")
    return seen


def main():
    traps.library()
    for step in traps.STEPS:
        seen = run(f"killed {step}", goes_on_after_a_death, step, killed=2)
        assert len(seen) == 3 and all("rank 2" in text or "gave up" in text for text in seen.values()), seen
        assert any("of rank 2" in text for text in seen.values()), seen
    for replicas in (False, True):
        seen = run(f"leaves, {replicas=}", leaves, replicas)
        assert "rank 2 has left this window by a 'rank_mask' without it" in seen.pop(2)
        assert set(seen.values()) == {"went on"}
    seen = run("comes back", comes_back)
    assert any("'rank_mask' has rank 2, which took no part in the dispatch before" in text for text in seen.values())
    seen = run("disagree", disagree)
    assert any("was given other arguments than rank 1: rank_mask differs" in seen[rank] for rank in (0, 2, 3))
    seen = run("waits", waits)
    for rank in (0, 1, 3):
        counts = seen[rank]["waited"]["counts"]
        assert max(range(RANKS), key=counts.__getitem__) == 2 and counts[2] > 0, counts
        seconds = seen[rank]["seconds"]
        assert seconds["dispatch"]["exchange"] >= counts[2]
        assert all(value >= 0 for phases in seconds.values() for value in phases.values())
        assert seen[rank]["sent_bytes"] == seen[rank]["sent_rows"] * 4 * HIDDEN == seen[rank]["read_bytes"]
    seen = run("resumes late", resumes_late)
    assert seen[0] > 0, seen
    seen = run("resumes alone", resumes_alone)
    assert "waited 2 s in vain for rank 1" in seen[0], seen[0]


if __name__ == "__main__":
    main()
