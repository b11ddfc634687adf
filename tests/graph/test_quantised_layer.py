"""The W8A8 layer has the bits of its dense twin, and an error hardly larger than that of quantising in plain numpy."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_moe_comm import DenseMoELayer, ExpertWindow, MoELayer, MoEWeights, reference
from ms_moe_comm.weights import quantise_columns
from quantised import layer_in_numpy, random_arrays
from tensors import DTYPES, to_numpy

E, H, I, K, T_MAX = 8, 128, 96, 3, 200


@pytest.fixture(autouse=True)
def graph_mode():
    ms.set_context(mode=ms.GRAPH_MODE)


@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("phase, shared", [("prefill", False), ("decode", True)])
def test_bits_of_the_dense_layer(dtype, phase, shared):
    rng = np.random.default_rng(1)
    weights = MoEWeights.quantised("layer", random_arrays(E, H, I, shared), DTYPES[dtype])
    dense = DenseMoELayer(weights, K)
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T_MAX,
                             dtype=DTYPES[dtype]) as window:
        layer = MoELayer(window, weights, phase)
        for token_num in (1, 17, T_MAX - 1):
            x = Tensor(rng.standard_normal((token_num, H)), DTYPES[dtype])
            np.testing.assert_array_equal(to_numpy(layer(x)), to_numpy(dense(x)))
        assert window.stats()["copied_bytes"] == 0


@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_error_against_fp32(dtype, phase):
    """Issue 5: at most 1.05 times the error that quantising with plain numpy has."""
    arrays = random_arrays(E, H, I, shared=True)
    x = reference.round_to(np.random.default_rng(2).standard_normal((T_MAX, H), np.float32), dtype)
    exact = layer_in_numpy(x, arrays, K, quantised=False)
    plain = layer_in_numpy(x, arrays, K, quantised=True)
    weights = MoEWeights.quantised("layer", arrays, DTYPES[dtype])
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T_MAX,
                             dtype=DTYPES[dtype]) as window:
        ours = to_numpy(MoELayer(window, weights, phase)(Tensor(x).astype(DTYPES[dtype])))
    error, error_of_numpy = (np.linalg.norm(y - exact) / np.linalg.norm(exact) for y in (ours, plain))
    print(f"{dtype}, {phase}: relative error {error:.5f}, with plain numpy {error_of_numpy:.5f}")
    assert error <= 1.05 * error_of_numpy


@pytest.mark.parametrize("scale_dtype", ["float32", "bfloat16"])
def test_columns_come_back_within_half_a_step(scale_dtype):
    weight = random_arrays(E, H, I, shared=False)["gate_up"] * np.exp2(np.arange(2 * I) % 30 - 15).astype(np.float32)
    weight[2, :, 5] = 0
    steps, scale = quantise_columns(weight, scale_dtype)
    assert steps.dtype == np.int8 and np.abs(steps).max() == 127 and scale[2, 5] == 0 and not steps[2, :, 5].any()
    np.testing.assert_array_equal(scale, reference.round_to(scale, scale_dtype))
    # if rounding took the scale down (by at most 2^-9 of it), 127 steps do not reach the largest weight
    beyond = 127 * 2.0**-9 if scale_dtype == "bfloat16" else 0
    off = np.abs(steps * scale.astype(np.float64)[:, None] - weight)
    assert (off <= (0.5 + 127 * 2.0**-23) * scale[:, None]).mean() > 0.99
    assert (off <= (max(0.5, beyond) + 127 * 2.0**-23) * scale[:, None]).all()


def test_weights_that_cannot_be_quantised_or_do_not_fit():
    arrays = random_arrays(E, H, I, shared=True)
    broken = arrays | {"down": arrays["down"].copy()}
    broken["down"][3, 0, 7] = np.inf
    with pytest.raises(ValueError, match="column 7 of expert 3 has a NaN or an infinity"):
        MoEWeights.quantised("layer", broken, ms.float32)
    w = MoEWeights.quantised("layer", arrays, ms.bfloat16)
    with pytest.raises(ValueError, match="gate_up is Int8 and gate_up_scale is absent"):
        MoEWeights(w.router, w.gate_up, w.down)
    plain = MoEWeights.from_numpy("plain", arrays, ms.bfloat16)
    with pytest.raises(ValueError, match="gate_up is BFloat16 and down is Int8"):
        MoEWeights(plain.router, plain.gate_up, w.down, down_scale=w.down_scale)
    with pytest.raises(ValueError, match=rf"down_scale has shape \({E}, {2 * I}\).* \({E}, {H}\)"):
        MoEWeights(w.router, w.gate_up, w.down, gate_up_scale=w.gate_up_scale, down_scale=w.gate_up_scale)
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=4,
                             dtype=ms.float16) as window:
        with pytest.raises(ValueError, match="scales of the experts are BFloat16, but the window carries Float16"):
            MoELayer(window, w)
