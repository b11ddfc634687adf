"""A rank that fails: the others end within the deadline with an error that names it, and nothing is left behind."""

import re
import time

import pytest

from multirank import shared_memory
from multirank.ranks import Ranks, run_ranks

MODULE = "multirank.fault_cases"


def wait_for_output(ranks, rank, text, seconds=60):
    deadline = time.monotonic() + seconds
    while text not in ranks.output(rank):
        assert time.monotonic() < deadline, f"rank {rank} never printed {text!r}: {ranks.output(rank)}"
        time.sleep(0.05)


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_rank_killed_in_the_middle_of_dispatch(phase):
    before = shared_memory.names()
    ranks = Ranks(4, MODULE, "one_is_killed_in_dispatch", phase=phase, victim=1, late=3)
    wait_for_output(ranks, 1, "in dispatch")
    time.sleep(0.5)
    ranks.processes[1].kill()
    outputs = ranks.wait(60, expected_to_die=[1])
    for rank in (0, 2, 3):
        print(f"rank {rank}:", outputs[rank].strip())
        first, second = [line for line in outputs[rank].splitlines() if line.startswith("after")]
        assert re.search(r"waited 3 s in vain for the rows \(phase 'arrived'\) of rank 1\.|"
                         r"rank \d gave up: it waited in vain for the rows \(phase 'arrived'\) of rank 1\.", first)
        assert f"'moe_{phase}_dispatch' on rank {rank} of 4, epoch 1" in first
        assert f"'moe_{phase}_dispatch' on rank {rank} of 4 is refused. Epoch 1 failed here: " in second
        assert ("The window cannot be used any more: create a new one on all ranks, or resume without the dead."
                in second)
    assert shared_memory.names() == before


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("step, thing", [("dispatch", r"the counts \(phase 'counts'\)"),
                                         ("combine", r"the expert outputs \(phase 'ready'\)")])
def test_a_rank_that_does_not_come(phase, step, thing):
    """Field report 18 (vllm-ascend 12430, 8960: a timeout without a message): phase, epoch and peer are named."""
    outputs = run_ranks(2, MODULE, "one_does_not_come", phase=phase, step=step)
    print(outputs[0])
    assert re.search(rf"'moe_{phase}_{step}' on rank 0 of 2, epoch 1: waited 3 s in vain for {thing} of rank 1\.",
                     outputs[0])


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_rank_that_ends_while_graphs_run(phase):
    output = run_ranks(2, MODULE, "one_leaves_under_a_graph", phase=phase)[0]
    print(output)
    where = f"'moe_{phase}_dispatch' on rank 0 of 2"
    assert f"{where}, epoch 3: waited 3 s in vain for the counts (phase 'counts') of rank 1." in output
    assert f"{where} is refused. Epoch 3 failed here: " in output
    assert "a new window works" in output


def test_an_error_of_one_rank_reaches_the_others_at_once():
    outputs = run_ranks(4, MODULE, "an_id_is_out_of_range")
    print(*outputs, sep="")
    assert re.search(r"'expert_ids' holds 8 \(token 2, k 1\), but the window has the experts 0 to 7", outputs[0])
    for rank in (1, 2, 3):
        assert re.search(r"when rank \d gave up: (an expert id was out of range there|rank 0 had given up)",
                         outputs[rank])
        seconds = float(re.search(r"after ([\d.]+) s", outputs[rank]).group(1))
        assert seconds < 3.0, "it waited for the deadline"  # the window's timeout


def test_too_small_a_capacity_is_the_same_error_on_all_ranks():
    """Field report 2 (vllm-ascend PR 15640: rows past the capacity): rows are never dropped silently."""
    outputs = run_ranks(4, MODULE, "capacity_is_too_small")
    print(*outputs, sep="")
    for output in outputs:
        assert "rank 0 would get 32 rows, but a window has capacity for 4 (most come from rank 0)" in output
        assert "usable" in output
