"""Short forms of tests/faults.sh and tests/soak.sh, in processes of their own: they fork before MindSpore is used."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run(script, *arguments):
    environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", GLOG_v="3")
    ended = subprocess.run([sys.executable, str(HERE / script), *arguments], env=environment, capture_output=True,
                           text=True, timeout=600, check=False)
    print(ended.stdout, ended.stderr)
    assert ended.returncode == 0, f"{script}:\n{ended.stdout[-4000:]}{ended.stderr[-4000:]}"
    return ended.stdout


def test_a_rank_that_is_late_killed_or_aborted_at_a_step():
    """Field report 22 (DeepEP PR 370, vllm 27774): a dead rank ends no other, waits are bounded, the peer is named.

    Field report 18 (vllm-ascend 12430, 8960): the error of a timeout names phase, epoch and the peer waited for.
    """
    assert "0 failed" in run("fault_table.py", "--short")


def test_a_rank_that_waits_for_the_dead_says_so():
    """Field report 22: the dead rank is named, even if a rank that waits for it is missed first."""
    run("chain.py")


def test_going_on_without_a_rank():
    run("going_on.py")


def test_killed_at_random_moments():
    """Field report 22 (flashinfer PR 4183): no hang and no wrong result, wherever a rank dies."""
    assert "0 failed" in run("random_kills.py", "--kills", "6", "--jobs", "2")


def test_many_steps_across_the_wrap_of_the_epoch():
    """Field report 27 (public kernels): round numbers are integers, and their wrap does no harm."""
    assert "no mismatch; no leak" in run("soak.py", "--steps", "6000")


def test_many_ranks_with_many_experts():
    """Field report 30 (public kernels: tables of the whole group for at most 64 ranks x 512 experts)."""
    assert "66 ranks, 594 experts: all bits equal" in run("many_ranks.py")
