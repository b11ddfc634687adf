"""Two overlapping micro-batches on two windows of two ranks."""

import pytest

from multirank.ranks import run_ranks


@pytest.mark.parametrize("dtype, phases, order", [("bfloat16", ("prefill", "prefill"), "side by side"),
                                                  ("float32", ("prefill", "decode"), "half a layer apart"),
                                                  ("bfloat16", ("decode", "decode"), "half a layer apart")])
def test_bits_of_dense_layers(dtype, phases, order):
    outputs = run_ranks(2, "multirank.two_micro_batches", "run", dtype=dtype, phases=phases, order=order)
    print("", *(line for output in outputs for line in output.splitlines() if "two micro-batches" in line), sep="\n")
    assert all("two micro-batches with the bits" in output for output in outputs)
