"""Reports of users of comparable packages, on several ranks. tests/kernel and tests/unit have those on one rank."""

import pytest

from multirank.ranks import run_ranks

MODULE = "multirank.field_report_cases"
PHASES = pytest.mark.parametrize("phase", ["prefill", "decode"])


def test_one_rank_has_no_tokens():
    """Field report 5 (sgl-kernel-npu PR 385, DeepEP PR 374): a rank without tokens takes part; its result is [0, H].

    Field report 6 (vllm 43547): it does so for many steps while the others work, without drift.
    """
    run_ranks(3, MODULE, "one_rank_has_no_tokens", steps=300)


@PHASES
def test_one_rank_has_too_many_tokens(phase):
    """Field report 4 (sgl-kernel-npu 185, sglang PR 23246, DeepEP 165): the error names the limit and harms nothing."""
    run_ranks(2, MODULE, "one_rank_has_too_many_tokens", phase=phase)


@PHASES
def test_two_dispatches_in_flight(phase):
    """Field report 12 (sgl-kernel-npu 801): right with a second window. With one: tests/kernel/test_messages.py."""
    run_ranks(2, MODULE, "two_dispatches_in_flight", phase=phase, steps=20)


def test_more_cores_than_there_are():
    """Field report 19 (a note on A3: two kernels together ask for more cores than exist): cores are `block_dim`.

    The rule for an NPU stands in the documentation of ``ExpertWindow.create``. On CPU blocks are threads, and any
    number of them comes through.
    """
    run_ranks(2, MODULE, "more_cores_than_there_are", block_dim=16)


@PHASES
def test_rows_beyond_the_capacity_are_dropped(phase):
    """Field report 2 (vllm-ascend PR 15640): with overflow="drop" the same rows are dropped each time, and counted."""
    run_ranks(2, MODULE, "rows_beyond_the_capacity_are_dropped", phase=phase, capacity=10)


@PHASES
def test_everybody_to_the_experts_of_one_rank(phase):
    """Field report 3 (vllm-ascend PR 4512): the default capacity holds the worst routing that the limits allow."""
    run_ranks(3, MODULE, "everybody_to_the_experts_of_one_rank", phase=phase)


def test_any_mix_on_one_window():
    """Field report 16 (vllm-ascend's ZBAL notes: clearing by the host between prefill and decode): none is needed."""
    run_ranks(3, MODULE, "any_mix_on_one_window", steps=200)


def test_nothing_is_allocated_after_creation():
    """Field report 17 (vllm-ascend's ZBAL notes: buffers made lazily inside graph capture).

    Launches that are captured and replayed: tests/kernel/test_replay.py.
    """
    run_ranks(2, MODULE, "nothing_is_allocated_after_creation")


@PHASES
def test_y_is_complete(phase):
    """Field report 20 (vllm-ascend 6710: the model reduces again what combine has reduced): y needs no reduction."""
    run_ranks(3, MODULE, "y_is_complete", phase=phase)


@PHASES
def test_ranks_disagree_about_quantisation(phase):
    """Field report 13 (sglang PR 23815): no rank gets rows in a form that it did not ask for."""
    run_ranks(2, MODULE, "ranks_disagree_about_quantisation", phase=phase)
