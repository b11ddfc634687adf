"""The expert-parallel layer gives the dense layer's bits."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from ms_moe_comm import DenseMoELayer, ExpertPlacement, ExpertWindow, MoELayer, MoEWeights
from ms_moe_comm.layer import swiglu

E, H, I, K, T_MAX = 8, 64, 32, 3, 200


@pytest.fixture(autouse=True)
def graph_mode():
    ms.set_context(mode=ms.GRAPH_MODE)


def random_weights(dtype, shared):
    rng = np.random.default_rng(0)
    shapes = {"router": (H, E), "gate_up": (E, H, 2 * I), "down": (E, I, H)}
    if shared:
        shapes |= {"shared_gate_up": (1, H, 2 * I), "shared_down": (1, I, H)}
    arrays = {key: rng.standard_normal(shape, np.float32) * np.float32(shape[-2] ** -0.5)
              for key, shape in shapes.items()}
    return MoEWeights.from_numpy("layer", arrays, dtype)


@pytest.mark.parametrize("dtype", [ms.float32, ms.float16, ms.bfloat16], ids=str)
@pytest.mark.parametrize("phase, shared, masked", [("prefill", False, True), ("prefill", True, False),
                                                   ("decode", True, True), ("decode", False, False)])
def test_bits_of_the_dense_layer(dtype, phase, shared, masked):
    rng = np.random.default_rng(1)
    weights = random_weights(dtype, shared)
    dense = DenseMoELayer(weights, K)
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T_MAX,
                             dtype=dtype) as window:
        layer = MoELayer(window, weights, phase)
        for token_num in (1, 17, T_MAX - 1):
            x = Tensor(rng.standard_normal((token_num, H)), dtype)
            mask = (Tensor(rng.random(token_num) < 0.7),) if masked else ()
            np.testing.assert_array_equal(layer(x, *mask).asnumpy(), dense(x, *mask).asnumpy())
        assert window.stats()["copied_bytes"] == 0


@pytest.mark.parametrize("undefined", [0, np.nan, np.inf, -np.inf, 1e-40])
def test_rows_that_nobody_wrote_do_not_touch_the_others(undefined):
    class Activation(nn.Cell):
        def construct(self, hidden):
            return swiglu(hidden)

    hidden = np.random.default_rng(2).standard_normal((500, 2 * I), np.float32)
    expected = Activation()(Tensor(hidden[:300])).asnumpy()
    hidden[300:] = undefined
    np.testing.assert_array_equal(Activation()(Tensor(hidden)).asnumpy()[:300], expected)


def test_weights_that_do_not_fit_each_other_or_the_window():
    weights = random_weights(ms.float32, False)
    with pytest.raises(ValueError, match=r"gate_up has shape \(8, 64, 64\).* \(8, 64, 128\)"):
        MoEWeights(weights.router, weights.gate_up, ms.Parameter(Tensor(np.zeros((E, H, I)), ms.float32), name="down"))
    for other, message in (({"moe_expert_num": 2 * E}, "router has shape"), ({"dtype": ms.float16}, "Float16")):
        with ExpertWindow.create(hidden_size=H, top_k=K, max_tokens_per_rank=4,
                                 **{"moe_expert_num": E, "dtype": ms.float32, **other}) as window:
            with pytest.raises(ValueError, match=message):
                MoELayer(window, weights)


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE], ids=["PyNative", "graph"])
def test_what_is_no_batch_of_tokens(tmp_path, monkeypatch, mode):
    monkeypatch.chdir(tmp_path)  # MindSpore writes files about failed graphs there
    weights = random_weights(ms.float32, shared=False)
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=4,
                             dtype=ms.float32) as window:
        ms.set_context(mode=mode)
        for layer in (MoELayer(window, weights), MoELayer(window, weights, max_tokens=8), DenseMoELayer(weights, K)):
            for wrong in (None, np.ones((3, H), np.float32), "x", 3, [1.0]):
                with pytest.raises(TypeError, match=f"For '{type(layer).__name__}', 'x' must be a Tensor, but got <"):
                    layer(wrong)
            for shape in ((3, 2 * H), (H,), (1, 3, H)):
                with pytest.raises(ValueError, match=rf"'x' must have the shape \[T, {H}\], but has \({shape[0]}"):
                    layer(Tensor(np.ones(shape, np.float32)))


def test_a_placement_of_another_number_of_slots():
    weights = random_weights(ms.float32, shared=False)
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=4,
                             dtype=ms.float32) as window:
        with pytest.raises(ValueError, match=f"'placement' must have {E} slots, the window's experts, but has {E + 1}"):
            MoELayer(window, weights, placement=ExpertPlacement([*range(E), 0], E))
