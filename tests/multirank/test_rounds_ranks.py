"""Ranks with different numbers of tokens do the same rounds; the rounds past a rank's own tokens have none of its."""

import pytest

from multirank.ranks import run_ranks

# T of each rank, step by step; a round is 16 tokens, and there are always 3
TOKENS_OF_TWO = [(40, 3), (0, 40), (17, 16), (0, 0), (33, 0)]
TOKENS_OF_FOUR = [(40, 0, 16, 17), (0, 0, 0, 33)]


@pytest.mark.parametrize("dtype, phase, int8, tokens", [
    ("bfloat16", "prefill", False, TOKENS_OF_TWO), ("float32", "decode", False, TOKENS_OF_TWO),
    ("float16", "prefill", True, TOKENS_OF_TWO), ("bfloat16", "prefill", True, TOKENS_OF_FOUR)])
def test_bits_of_the_dense_layer(dtype, phase, int8, tokens):
    outputs = run_ranks(len(tokens[0]), "multirank.rounds_layer", "run", dtype=dtype, phase=phase, int8=int8,
                        tokens=tokens)
    print("", *(line for output in outputs for line in output.splitlines() if "bits of" in line), sep="\n")
    assert all("bits of the dense layer" in output for output in outputs)
