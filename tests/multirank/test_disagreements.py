"""Ranks that should do the same but do not get an error at once, not at their deadline."""

import pytest

from multirank.ranks import run_ranks

MODULE = "multirank.disagreement_cases"


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("ranks, keepers", [(2, [0]), (3, [1]), (3, [0, 2])])
def test_some_ranks_keep_a_plan(ranks, keepers, balanced):
    run_ranks(ranks, MODULE, "some_keep_a_plan", seconds=50, keepers=keepers, balanced=balanced)


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_smooth_factors_on_one_rank(phase):
    """With balanced prefill other ranks quantise rows of a rank, with their own factors."""
    run_ranks(2, MODULE, "smooth_factors_on_one_rank", seconds=50, phase=phase)


@pytest.mark.parametrize("balanced", [False, True])
def test_quantisation_in_unlike_phases(balanced):
    run_ranks(2, MODULE, "quantisation_in_unlike_phases", seconds=50, balanced=balanced)
