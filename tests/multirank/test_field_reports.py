"""What users of comparable packages reported, on several ranks. Reports on one rank are named in tests/kernel, unit."""

import pytest
from multirank.ranks import run_ranks

MODULE = "multirank.field_report_cases"
PHASES = pytest.mark.parametrize("phase", ["prefill", "decode"])


def test_one_rank_has_no_tokens():
    """Field reports 5 (sgl-kernel-npu PR 385, DeepEP PR 374) and 6 (vllm 43547): a rank without tokens takes part.

    For many steps while the others work, without drift; its own result is [0, H].
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
