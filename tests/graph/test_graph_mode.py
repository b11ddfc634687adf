"""Graph mode: nothing is merged, dropped or reordered, nothing is compiled twice, and dynamic shapes work."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

import ms_moe_comm
from ms_moe_comm import ExpertWindow, MoEDispatcher, moe_decode_dispatch, moe_grouped_matmul, reference

E, H, K, T_MAX = 4, 32, 2, 8


@pytest.fixture(autouse=True)
def graph_mode():
    ms.set_context(mode=ms.GRAPH_MODE)


@pytest.fixture
def window():
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T_MAX,
                             dtype=ms.float32) as window:
        yield window


def tokens(seed, token_num=T_MAX):
    rng = np.random.default_rng(seed)
    ids = np.array([rng.permutation(E)[:K] for _ in range(token_num)], np.int32).reshape(token_num, K)
    return rng.standard_normal((token_num, H), np.float32), ids, rng.random((token_num, K), np.float32)


def identity_experts(x, ids, scales, dtype="float32"):
    """What combine returns if every expert returns its input, by the reference."""
    expand_x, expand_idx, _ = reference.dispatch([x], [ids], E)
    return reference.combine(expand_x, ids, scales, expand_idx[0], E, dtype)


class RoundTrip(nn.Cell):
    """Dispatch, experts that return their input, combine."""

    def __init__(self, window, phase):
        super().__init__()
        self.dispatcher = MoEDispatcher(window, phase)

    def construct(self, x, ids, scales):
        expand_x, _, handle = self.dispatcher.dispatch(x, ids)
        return self.dispatcher.combine(expand_x, scales, handle)


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_cell_and_jit_give_the_reference(window, phase):
    x, ids, scales = tokens(1)
    expected = identity_experts(x, ids, scales)
    cell = RoundTrip(window, phase)
    np.testing.assert_array_equal(cell(Tensor(x), Tensor(ids), Tensor(scales)).asnumpy(), expected)
    dispatcher = MoEDispatcher(window, phase)

    @ms.jit
    def step(x, ids, scales):
        expand_x, _, handle = dispatcher.dispatch(x, ids)
        return dispatcher.combine(expand_x, scales, handle)

    np.testing.assert_array_equal(step(Tensor(x), Tensor(ids), Tensor(scales)).asnumpy(), expected)


def test_two_identical_dispatches_are_two_launches(window):
    class Twice(nn.Cell):
        def __init__(self):
            super().__init__()
            self.first = MoEDispatcher(window)

        def construct(self, x, ids):
            a, _, _ = self.first.dispatch(x, ids)
            b, _, _ = self.first.dispatch(x, ids)
            return ops.depend(b, a)

    x, ids, _ = tokens(2)
    Twice()(Tensor(x), Tensor(ids))
    assert window.stats()["epoch"] == 2


def test_a_dispatch_whose_result_nobody_uses_still_runs(window):
    class Unused(nn.Cell):
        def __init__(self):
            super().__init__()
            self.dispatcher = MoEDispatcher(window)

        def construct(self, x, ids):
            self.dispatcher.dispatch(x, ids)
            return x + 1

    x, ids, _ = tokens(3)
    Unused()(Tensor(x), Tensor(ids))
    assert window.stats()["epoch"] == 1


class Layers(nn.Cell):
    """Layers in nested cells; each needs the result of the one before: y = combine(dispatch(y) * factor)."""

    def __init__(self, window, number):
        super().__init__()
        self.layers = nn.CellList([Layer(window, float(i + 2)) for i in range(number)])

    def construct(self, x, ids, scales):
        for layer in self.layers:
            x = layer(x, ids, scales)
        return x


class Layer(nn.Cell):
    def __init__(self, window, factor):
        super().__init__()
        self.dispatcher = MoEDispatcher(window, "decode")
        self.factor = factor

    def construct(self, x, ids, scales):
        expand_x, _, handle = self.dispatcher.dispatch(x, ids)
        return self.dispatcher.combine(expand_x * self.factor, scales, handle)


def layers_reference(x, ids, scales, factors):
    for factor in factors:
        expand_x, expand_idx, _ = reference.dispatch([x], [ids], E)
        x = reference.combine([expand_x[0] * np.float32(factor)], ids, scales, expand_idx[0], E, "float32")
    return x


def test_order_holds_in_nested_cells(window):
    x, ids, scales = tokens(4)
    y = Layers(window, 5)(Tensor(x), Tensor(ids), Tensor(scales))
    np.testing.assert_array_equal(y.asnumpy(), layers_reference(x, ids, scales, [2, 3, 4, 5, 6]))
    assert window.stats()["epoch"] == 5


def test_order_holds_in_while(window):
    class Loop(nn.Cell):
        def __init__(self):
            super().__init__()
            self.layer = Layer(window, 2.0)

        def construct(self, x, ids, scales, times):
            done = Tensor(0, ms.int32)
            while done < times:
                x = self.layer(x, ids, scales)
                done = done + 1
            return x

    x, ids, scales = tokens(5)
    loop = Loop()
    for times in (0, 1, 4):
        y = loop(Tensor(x), Tensor(ids), Tensor(scales), Tensor(times, ms.int32))
        np.testing.assert_array_equal(y.asnumpy(), layers_reference(x, ids, scales, [2] * times))
    assert window.stats()["epoch"] == 5


def test_order_holds_in_if(window):
    class Branch(nn.Cell):
        def __init__(self):
            super().__init__()
            self.small, self.large = Layer(window, 2.0), Layer(window, 8.0)
            self.last = Layer(window, 3.0)

        def construct(self, x, ids, scales, which):
            if which > 0:  # noqa: SIM108  # the subject of the test
                x = self.large(x, ids, scales)
            else:
                x = self.small(x, ids, scales)
            return self.last(x, ids, scales)

    x, ids, scales = tokens(6)
    branch = Branch()
    for which, factor in ((0, 2), (1, 8), (0, 2)):
        y = branch(Tensor(x), Tensor(ids), Tensor(scales), Tensor(which, ms.int32))
        np.testing.assert_array_equal(y.asnumpy(), layers_reference(x, ids, scales, [factor, 3]))
    assert window.stats()["epoch"] == 6


def test_a_graph_is_compiled_once_per_shape(window):
    cell = RoundTrip(window, "decode")
    for token_num, compiled in ((3, 1), (5, 2), (3, 2), (5, 2), (0, 3), (3, 3)):
        x, ids, scales = tokens(token_num, token_num)
        y = cell(Tensor(x), Tensor(ids), Tensor(scales)).asnumpy()
        np.testing.assert_array_equal(y, identity_experts(x, ids, scales))
        assert len(cell.compile_cache) == compiled


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_dynamic_number_of_tokens_in_one_graph(window, phase):
    """Field report 5 (sgl-kernel-npu PR 385, DeepEP PR 374): T = 0 is one of the cases."""
    cell = RoundTrip(window, phase)
    cell.set_inputs(Tensor(shape=[None, H], dtype=ms.float32), Tensor(shape=[None, K], dtype=ms.int32),
                    Tensor(shape=[None, K], dtype=ms.float32))
    for token_num in (1, 8, 0, 3, 0, 7):
        x, ids, scales = tokens(token_num, token_num)
        y = cell(Tensor(x), Tensor(ids), Tensor(scales)).asnumpy()
        np.testing.assert_array_equal(y, identity_experts(x, ids, scales))
    assert len(cell.compile_cache) == 1


def test_rows_and_outputs_lie_in_the_window(window):
    """Field report 23 (DeepEP 655: users ask to drop the copy out of the receive buffer): nothing is copied."""
    class Experts(nn.Cell):
        def __init__(self):
            super().__init__()
            self.dispatcher = MoEDispatcher(window)
            self.outputs = window.outputs

        def construct(self, x, ids, scales, weight):
            expand_x, nums, handle = self.dispatcher.dispatch(x, ids)
            y = moe_grouped_matmul(expand_x, weight, nums, self.outputs)
            return self.dispatcher.combine(y, scales, handle), expand_x, y

    x, ids, scales = tokens(7)
    weight = np.tile(np.eye(H, dtype=np.float32) * 2, (E, 1, 1))
    y, _, _ = Experts()(Tensor(x), Tensor(ids), Tensor(scales), Tensor(weight))
    np.testing.assert_array_equal(y.asnumpy(), layers_reference(x, ids, scales, [2]))
    assert window.stats()["copied_bytes"] == 0  # combine found the outputs in the window
    np.testing.assert_array_equal(window.rows.asnumpy()[:T_MAX * K], reference.dispatch([x], [ids], E)[0][0])
    np.testing.assert_array_equal(window.outputs.asnumpy()[:T_MAX * K], reference.dispatch([x], [ids], E)[0][0] * 2)


def test_types_and_shapes_are_checked_when_the_graph_is_built(window):
    class Direct(nn.Cell):
        def __init__(self):
            super().__init__()
            self.rows, self.scales, self.control = window.rows, window.scales, window.control

        def construct(self, x, ids):
            return moe_decode_dispatch(x, ids, self.rows, self.scales, self.control, E)[2]

    x, ids, _ = tokens(8)
    with pytest.raises(TypeError, match="dtype of 'expert_ids' must be one of int32, int64, but got float32"):
        Direct()(Tensor(x), Tensor(ids.astype(np.float32)))
    with pytest.raises(TypeError, match="'x' and 'window_rows' must have the same dtype"):
        Direct()(Tensor(x.astype(np.float16)), Tensor(ids))
    with pytest.raises(ValueError, match=r"dimension 1 of 'x' must be the window's H = 32, but its shape is \[8, 16\]"):
        Direct()(Tensor(x[:, :16].copy()), Tensor(ids))
    with pytest.raises(ValueError, match="dimension 0 of 'expert_ids' must be T = 8"):
        Direct()(Tensor(x), Tensor(ids[:3]))
    assert window.stats()["epoch"] == 0


def test_operators_as_attributes_of_the_package(window):
    """`import ms_moe_comm`, and its name in a graph."""
    class Doubled(nn.Cell):
        def construct(self, x, weight, nums):
            return ms_moe_comm.moe_grouped_matmul(x, weight, nums)

    x, weight = np.eye(2, H, dtype=np.float32), np.full((1, H, H), 2, np.float32)
    y = Doubled()(Tensor(x), Tensor(weight), Tensor(np.array([2], np.int64)))
    np.testing.assert_array_equal(y.asnumpy(), np.full((2, H), 2))
