"""More tokens than a window holds go through it in rounds of one graph, with the dense layer's and one round's bits."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_moe_comm import DenseMoELayer, ExpertPlacement, ExpertWindow, MoELayer, MoEWeights
from quantised import random_arrays
from tensors import DTYPES, fill_with_nan, to_numpy

E, H, I, K = 8, 64, 32, 3
CHUNK, MAX_TOKENS, ROUNDS = 16, 40, 3  # the last round is for 8 tokens
TOO_MANY = "must be at most max_tokens = 40, but got 41: make the layer with a larger max_tokens"


@pytest.fixture(autouse=True)
def graph_mode():
    ms.set_context(mode=ms.GRAPH_MODE)


def make_window(max_tokens_per_rank, dtype, experts=E, hidden=H):
    return ExpertWindow.create(moe_expert_num=experts, hidden_size=hidden, top_k=K, dtype=DTYPES[dtype],
                               max_tokens_per_rank=max_tokens_per_rank)


def tokens(seed, token_num, dtype, hidden=H):
    return Tensor(np.random.default_rng(seed).standard_normal((token_num, hidden), np.float32)).astype(DTYPES[dtype])


def bits(tensor):
    return to_numpy(tensor).view(np.uint32)


@pytest.mark.parametrize("dtype, phase, int8, shared, masked", [
    ("float32", "prefill", False, True, False), ("float16", "prefill", False, False, True),
    ("bfloat16", "prefill", False, True, True), ("bfloat16", "prefill", True, True, False),
    ("float32", "decode", True, False, True)])
def test_bits_of_the_dense_layer_and_of_one_round(dtype, phase, int8, shared, masked):
    make = MoEWeights.quantised if int8 else MoEWeights.from_numpy
    weights = make("layer", random_arrays(E, H, I, shared), DTYPES[dtype])
    dense = DenseMoELayer(weights, K)
    with make_window(CHUNK, dtype) as window, make_window(MAX_TOKENS, dtype) as large_window:
        assert window.capacity == CHUNK * K
        in_rounds = MoELayer(window, weights, phase, max_tokens=MAX_TOKENS)
        in_one = MoELayer(large_window, weights, phase)
        for step, token_num in enumerate((MAX_TOKENS, 0, CHUNK, CHUNK + 1), 1):
            mask = (Tensor(np.random.default_rng(step).random(token_num) < 0.7),) if masked else ()
            fill_with_nan(window)
            y = bits(in_rounds(tokens(step, token_num, dtype), *mask))
            assert y.shape == (token_num, H)
            assert window.stats()["epoch"] == step * ROUNDS  # the same number of rounds for every T
            assert window.stats()["copied_bytes"] == 0
            np.testing.assert_array_equal(y, bits(in_one(tokens(step, token_num, dtype), *mask)))
            if token_num:  # the dense layer takes no empty tensor
                np.testing.assert_array_equal(y, bits(dense(tokens(step, token_num, dtype), *mask)))


@pytest.mark.parametrize("int8", [False, True])
def test_placement_that_changes_and_zero_experts(int8):
    logical, zero = 5, 2
    arrays = random_arrays(logical, H, I, shared=True)
    arrays["router"] = np.random.default_rng(0).standard_normal((H, logical + zero), np.float32)
    make = MoEWeights.quantised if int8 else MoEWeights.from_numpy

    def weights_of(slots):
        return make("layer", arrays | {key: arrays[key][slots] for key in ("gate_up", "down")}, ms.bfloat16)

    first, second = [0, 1, 2, 3, 4, 1, 1, 2], [4, 3, 2, 1, 0, 0, 3, 4]
    dense = DenseMoELayer(make("dense", arrays, ms.bfloat16), K, zero)
    with make_window(CHUNK, "bfloat16") as window:
        placement, weights = ExpertPlacement(first, logical), weights_of(first)
        layer = MoELayer(window, weights, "prefill", placement, zero, max_tokens=MAX_TOKENS)
        for seed, slots in enumerate((first, second, first)):
            weights.copy_from(weights_of(slots))
            placement.update(slots)
            fill_with_nan(window)
            x = tokens(seed, CHUNK + 5, "bfloat16")
            np.testing.assert_array_equal(bits(layer(x)), bits(dense(x)))
        assert len(layer.compile_cache) == 1


def test_router_of_a_size_whose_bits_depend_on_the_number_of_rows():
    """[2048, 128] in float32 on x86-64: with 16 rows at a time BLAS rounds other values than with 40."""
    experts, hidden = 128, 2048
    weights = MoEWeights.from_numpy("layer", random_arrays(experts, hidden, 8, shared=False), ms.float32)
    x = tokens(0, MAX_TOKENS, "float32", hidden)
    with make_window(CHUNK, "float32", experts, hidden) as window:
        in_rounds = bits(MoELayer(window, weights, max_tokens=MAX_TOKENS)(x))
    with make_window(MAX_TOKENS, "float32", experts, hidden) as window:
        np.testing.assert_array_equal(in_rounds, bits(MoELayer(window, weights)(x)))


def test_one_graph_for_every_number_of_tokens():
    """With a dynamic T one graph serves every T; a T that is too large is refused before any round."""
    weights = MoEWeights.from_numpy("layer", random_arrays(E, H, I, shared=True), ms.float32)
    dense = DenseMoELayer(weights, K)
    with make_window(CHUNK, "float32") as window:
        layer = MoELayer(window, weights, max_tokens=MAX_TOKENS)
        layer.set_inputs(Tensor(shape=[None, H], dtype=ms.float32))
        for step, token_num in enumerate((CHUNK + 1, 0, MAX_TOKENS, 1, CHUNK), 1):
            fill_with_nan(window)
            y = bits(layer(tokens(step, token_num, "float32")))
            assert window.stats()["epoch"] == step * ROUNDS
            assert y.shape == (token_num, H)
            if token_num:
                np.testing.assert_array_equal(y, bits(dense(tokens(step, token_num, "float32"))))
        with pytest.raises(ValueError, match=TOO_MANY):
            layer(tokens(0, MAX_TOKENS + 1, "float32")).asnumpy()
        assert window.stats()["epoch"] == step * ROUNDS
        assert len(layer.compile_cache) == 1


def test_more_tokens_than_the_limit_and_limits_without_effect():
    weights = MoEWeights.from_numpy("layer", random_arrays(E, H, I, shared=False), ms.float32)
    with make_window(CHUNK, "float32") as window:
        with pytest.raises(ValueError, match=TOO_MANY):
            MoELayer(window, weights, max_tokens=MAX_TOKENS)(tokens(0, MAX_TOKENS + 1, "float32"))
        assert window.stats()["epoch"] == 0
        for max_tokens in (CHUNK, None):  # one round, whose limit is the window's
            with pytest.raises(ValueError, match="is 17, but the window was created for at most 16 tokens per rank"):
                MoELayer(window, weights, max_tokens=max_tokens)(tokens(0, CHUNK + 1, "float32")).asnumpy()
        with pytest.raises(ValueError, match="'max_tokens' must be at least 16, .*, but got 15: leave it out"):
            MoELayer(window, weights, max_tokens=CHUNK - 1)
        for max_tokens in (40.0, True, "40"):
            with pytest.raises(TypeError, match="'max_tokens' must be an int from 1 to 2147483647, but got"):
                MoELayer(window, weights, max_tokens=max_tokens)
