"""The W8A8 layer over two ranks."""

import pytest

from multirank.ranks import run_ranks


@pytest.mark.parametrize("dtype, phase", [("bfloat16", "prefill"), ("bfloat16", "decode"), ("float32", "decode")])
def test_bits_and_error(dtype, phase):
    """Field report 5 (sgl-kernel-npu PR 385, DeepEP PR 374): in the last step, the first rank has no token."""
    outputs = run_ranks(2, "multirank.quantised_layer", "run", dtype=dtype, phase=phase)
    print("", *(line for output in outputs for line in output.splitlines() if "relative error" in line), sep="\n")
    assert all("relative error" in output for output in outputs)
