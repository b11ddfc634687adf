"""Random routing on 1 to 8 processes with one window each; every step has the reference's bits."""

import pytest

from multirank.ranks import run_ranks

MODULE = "multirank.routing_steps"


def print_all(outputs):
    print("", *(line for output in outputs for line in output.splitlines() if "bits equal" in line), sep="\n")
    assert all("all bits equal" in output for output in outputs)


@pytest.mark.parametrize("ranks, dtype", [(1, "float32"), (2, "bfloat16"), (4, "float16"), (8, "bfloat16")])
def test_thousand_steps(ranks, dtype):
    """Field report 16 (vllm-ascend's ZBAL notes): prefill and decode in any order on one window."""
    print_all(run_ranks(ranks, MODULE, "run", seconds=900, seed=1000 + ranks, steps=1000, experts=16, top_k=6,
                        max_tokens=12, hidden=32, dtype=dtype))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("block_dim", [1, 3])
def test_every_dtype_on_several_cores(dtype, block_dim):
    print_all(run_ranks(2, MODULE, "run", seed=block_dim, steps=100, experts=20, top_k=16, max_tokens=40, hidden=48,
                        dtype=dtype, block_dim=block_dim))


def test_one_expert_per_rank():
    print_all(run_ranks(4, MODULE, "run", seed=7, steps=100, experts=4, top_k=1, max_tokens=9, hidden=16,
                        dtype="bfloat16"))


def test_more_experts_than_a_tile_holds():
    """Field report 21 (UCCL 923: a deadlock at 256 experts)."""
    print_all(run_ranks(2, MODULE, "run", seed=8, steps=20, experts=1100, top_k=8, max_tokens=70, hidden=16,
                        dtype="float32", block_dim=2))


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("ranks, block_dim", [(2, 1), (4, 1), (4, 3)])
def test_each_rank_chooses_its_phase(ranks, block_dim, balanced):
    """Some ranks are in prefill and some in decode, in one step: only ranks in prefill help each other."""
    print_all(run_ranks(ranks, MODULE, "run", seed=40 + ranks, steps=40, experts=16, top_k=4, max_tokens=48, hidden=32,
                        dtype="bfloat16", block_dim=block_dim, mixed=True, balanced=balanced))
