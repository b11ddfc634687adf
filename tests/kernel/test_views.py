"""Every tensor argument of every operator, in each kind of view: the result is right, or the view is refused by name.
The right result is that of a contiguous tensor with the same values.
"""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_moe_comm import ExpertWindow, MoEDispatcher, moe_dynamic_quant, ops
from ms_moe_comm._generated import gen_ops_def
from ms_moe_comm.dtypes import code_of
from views import broadcast, columns, empty, offset, strided_rows, transposed

E, H, K, T, V = 4, 32, 2, 6, 2
RNG = np.random.default_rng(20261126)


# All elements of such a view are equal, which is no valid step: the error must be the same as for a plain tensor.
NEVER_EQUAL = ("logical_to_physical_map", "kept_plan", "expert_ids", "expand_idx", "plan", "group_list")
VIEWS = (columns, transposed, broadcast, strided_rows, offset, empty)


def floats(*shape):
    return RNG.standard_normal(shape, np.float32)


def int8(*shape):
    return RNG.integers(-127, 128, shape, np.int8)


def scaled(*shape):
    return RNG.random(shape, np.float32)


DISPATCH = {
    "x": floats(T, H), "expert_ids": RNG.integers(0, E, (T, K), np.int32), "x_active_mask": RNG.random((T, K)) < 0.8,
    "scales": scaled(E, H), "logical_to_physical_map": np.arange(E, dtype=np.int32)[:, None],
    "logical_replica_count": np.ones(E, np.int32), "rank_mask": np.ones(1, bool)}
COMBINE = {
    "expand_x": floats(T * K, H), "expert_scales": scaled(T, K), "residual_x": floats(T, H),
    "shared_expert_x": floats(T, H), "ori_x": floats(T, H), "const_expert_alpha_1": floats(V, H),
    "const_expert_alpha_2": floats(V, H), "const_expert_v": floats(V, H)}
COUNTS = np.array([3, 0, 2, 1], np.int64)
PLAIN = {  # operators without a window
    "moe_grouped_matmul": {"x": floats(T, H), "weight": floats(E, H, 16), "group_list": COUNTS},
    "moe_grouped_matmul_out": {
        "x": floats(T, H), "weight": floats(E, H, 16), "group_list": COUNTS, "out": floats(T, 16)},
    "moe_grouped_matmul_quant": {
        "x": int8(T, H), "weight": int8(E, H, 16), "group_list": COUNTS, "scale": scaled(E, 16),
        "per_token_scale": scaled(T), "bias": RNG.integers(-99, 99, (E, 16), np.int32),
        "output_dtype": code_of(ms.float32)},
    "moe_grouped_matmul_quant_out": {
        "x": int8(T, H), "weight": int8(E, H, 16), "group_list": COUNTS, "scale": scaled(E, 16),
        "per_token_scale": scaled(T), "out": floats(T, 16), "bias": RNG.integers(-99, 99, (E, 16), np.int32)},
    "moe_dynamic_quant": {"x": floats(T, H), "smooth_scales": scaled(H)},
}


def run_plain(op, given):
    function = moe_dynamic_quant if op == "moe_dynamic_quant" else getattr(gen_ops_def, op)
    results = function(**given)
    return [r.asnumpy() for r in (results if isinstance(results, tuple) else (results,))]


def run_dispatch(op, given, window):
    kept = {}
    if "kept_plan" in given:  # the dispatch before must be combined
        plain = {name: value for name, value in given.items() if name != "kept_plan"}
        *_, expand_idx, _, plan, ids, control = dispatched(op, plain, window)
        gen_ops_def.moe_prefill_combine(window.outputs, ids, expand_idx, plan, control)
        kept["kept_plan"] = given["kept_plan"](plan.asnumpy())
    rows, scales, expand_idx, nums, _, ids, _ = dispatched(op, {**given, **kept}, window)
    total = int(nums.asnumpy().sum())
    return [rows.asnumpy()[:total], scales.asnumpy()[:total], expand_idx.asnumpy(), nums.asnumpy(), ids.asnumpy()]


def dispatched(op, given, window):
    return getattr(gen_ops_def, op)(
        window_rows=window.quantised_rows, window_scales=window.scales, window_control=window.control,
        local_expert_num=E, quant_mode=2, **given)


def run_combine(op, given, window):
    """The ids include constant experts."""
    ids = Tensor((np.arange(T * K).reshape(T, K) % (E + V)).astype(np.int32))
    dispatch = getattr(gen_ops_def, op.replace("combine", "dispatch"))
    _, _, expand_idx, _, plan, _, control = dispatch(Tensor(COMBINE["ori_x"]), ids, window.rows, window.scales,
                                                     window.control, E, const_expert_num=V)
    handle = {"expert_ids": ids, "expand_idx": expand_idx, "plan": plan}
    for name, view in given.items():
        if name in handle:
            given = {**given, name: view(handle[name].asnumpy())}
    y, _ = getattr(gen_ops_def, op)(**{**handle, "window_control": control, "const_expert_num": V, **given})
    return [y.asnumpy()]


def cases():
    for op in ("moe_decode_dispatch", "moe_prefill_dispatch"):
        for argument in DISPATCH:
            yield op, argument
    yield "moe_prefill_dispatch", "kept_plan"
    for op in ("moe_decode_combine", "moe_prefill_combine"):
        for argument in (*COMBINE, "expert_ids", "expand_idx", "plan"):
            yield op, argument
    for op, arguments in PLAIN.items():
        for argument, value in arguments.items():
            if isinstance(value, np.ndarray):
                yield op, argument


def outcome(function):
    """Results as bytes, or the first line of the error."""
    try:
        return [(r.shape, r.dtype, r.tobytes()) for r in function()]
    except (TypeError, ValueError, RuntimeError) as error:
        return str(error).splitlines()[0]


def tensors(arguments):
    return {name: Tensor(value) if isinstance(value, np.ndarray) else value for name, value in arguments.items()}


def run(op, argument, make):
    """Runs `op` with `make(values)` for its `argument`, and plain tensors for all others."""
    if op in PLAIN:
        values = PLAIN[op]
        return run_plain(op, {**tensors(values), argument: make(values[argument])})
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T,
                             dtype=ms.float32) as window:
        values, run_it = (DISPATCH, run_dispatch) if "dispatch" in op else (COMBINE, run_combine)
        made = make(values[argument]) if argument in values else make  # a part of the handle is made later
        return run_it(op, {**tensors(values), argument: made}, window)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
@pytest.mark.parametrize("op, argument", list(cases()))
def test_a_view_is_right_or_refused(op, argument, view):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    plain = outcome(lambda: run(op, argument, lambda values: Tensor(view(values).asnumpy().copy())))
    viewed = outcome(lambda: run(op, argument, view))
    assert isinstance(plain, list) or view is empty or (view is broadcast and argument in NEVER_EQUAL), plain
    if argument == "out" and view in (columns, transposed, broadcast, strided_rows):
        assert viewed.startswith(f"For '{op}', the elements of 'out', which the operator writes, must lie one after "
                                 "the other, but it is a view with shape [6, 16]"), viewed
    else:
        assert viewed == plain


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "jit"])
def test_views_in_graphs(view, jit):
    """A graph makes its inputs contiguous before an operator sees them."""
    ms.set_context(mode=ms.PYNATIVE_MODE if jit else ms.GRAPH_MODE)
    try:
        with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T,
                                 dtype=ms.float32) as window:
            step = Step(window)
            call = ms.jit(step) if jit else step
            values = DISPATCH["x"], DISPATCH["expert_ids"], scaled(T, K), floats(E, H, H)
            views = [v if view is empty and i == 3 else view(v) for i, v in enumerate(values)]
            views = [Tensor(v) if isinstance(v, np.ndarray) else v for v in views]
            plain = [Tensor(v.asnumpy().copy()) for v in views]
            assert call(*views).asnumpy().tobytes() == call(*plain).asnumpy().tobytes()
    finally:
        ms.set_context(mode=ms.PYNATIVE_MODE)


class Step(ms.nn.Cell):
    def __init__(self, window):
        super().__init__()
        self.dispatcher = MoEDispatcher(window, "prefill")

    def construct(self, x, expert_ids, expert_scales, weight):
        expand_x, nums, handle = self.dispatcher.dispatch(x, expert_ids)
        outputs = ops.moe_grouped_matmul(expand_x, weight, nums, self.dispatcher.outputs)
        return self.dispatcher.combine(outputs, expert_scales, handle)


def window_and(*values):
    window = ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T, dtype=ms.float32)
    return window, [Tensor(value) for value in values]


def test_tensors_of_the_window_itself():
    """An operator must not read the memory that it writes as another argument."""
    routed = np.where(np.arange(T * K).reshape(T, K) == 0, -1, DISPATCH["expert_ids"])  # all pairs but one
    window, (x, ids) = window_and(DISPATCH["x"], routed)
    with window:
        dispatcher = MoEDispatcher(window)
        _, _, handle = dispatcher.dispatch(x, ids)
        own = window.rows[:T]
        with pytest.raises(ValueError, match="'x' lies in the memory of 'window_rows', which the operator writes. "
                                             "Pass a copy of it."):
            dispatcher.dispatch(own, ids)
        with pytest.raises(ValueError, match="'residual_x' lies in the memory of window.outputs. Pass a copy of it."):
            dispatcher.combine(window.outputs, None, handle, residual_x=window.outputs[:T])
        with pytest.raises(ValueError, match="'expand_x' lies in the memory of window.outputs. Pass window.outputs "
                                             "as a whole, or a copy of the rows."):
            dispatcher.combine(window.outputs[1:], None, handle)
        expected = own.asnumpy().copy()
        dispatcher.combine(window.rows, None, handle)  # experts that do nothing return the rows
        dispatcher.dispatch(own.copy(), ids)
        assert window.rows.asnumpy()[:T].tobytes() != expected.tobytes()  # the rows have moved


def test_a_matmul_does_not_write_into_its_own_arguments():
    x, weight = Tensor(floats(T, H)), Tensor(floats(E, H, H))
    with pytest.raises(ValueError, match="'x' lies in the memory of 'out', which the operator writes"):
        ops.moe_grouped_matmul(x, weight, Tensor(COUNTS), x)


def test_rows_of_another_stride_are_refused():
    """A view of the window's own tensors is refused where the whole tensor is needed."""
    window, (x, ids) = window_and(DISPATCH["x"], DISPATCH["expert_ids"])
    with window:
        for name, view in (("window_rows", window.rows[::2]), ("window_scales", window.scales[::2]),
                           ("window_control", window.control[::2])):
            given = {"window_rows": window.rows, "window_scales": window.scales, "window_control": window.control,
                     name: view}
            text = f"the elements of '{name}', which the operator writes, must lie one after"
            with pytest.raises(ValueError, match=text):
                gen_ops_def.moe_decode_dispatch(x=x, expert_ids=ids, local_expert_num=E, **given)
