"""The messages for wrong arguments: value, limit, what to do. Run with -s to read them all."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_moe_comm import ExpertWindow, MoEDispatcher, moe_decode_combine, moe_decode_dispatch, moe_prefill_dispatch

E, H, K, T_MAX = 4, 32, 2, 8


@pytest.fixture(autouse=True)
def pynative_mode():
    ms.set_context(mode=ms.PYNATIVE_MODE)


@pytest.fixture
def window():
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T_MAX,
                             dtype=ms.float32) as window:
        yield window


def x_of(token_num=2, hidden=H, dtype=np.float32):
    return Tensor(np.zeros((token_num, hidden), dtype))


def ids_of(token_num=2, top_k=K, dtype=np.int32, value=0):
    return Tensor(np.full((token_num, top_k), value, dtype))


def message(function, kind, text):
    with pytest.raises(kind) as error:
        for output in function():
            output.asnumpy()
    first_line = str(error.value).splitlines()[0]
    print(f"{kind.__name__}: {first_line}")
    assert text in first_line


def test_arguments_of_dispatch(window):
    """Field report 9 (vllm-ascend PR 15827: a mask of another length) is one of the cases."""
    def dispatch(x, ids, rows=window.rows, control=window.control, experts=E, **options):
        return lambda: moe_decode_dispatch(x, ids, rows, window.scales, control, experts, **options)[2:3]

    message(dispatch(x_of(9), ids_of(9)), ValueError,
            "T, dimension 0 of 'x', is 9, but the window was created for at most 8 tokens per rank. Create it with a "
            "larger max_tokens_per_rank, or dispatch fewer tokens at a time.")
    message(dispatch(x_of(), ids_of(top_k=3)), ValueError,
            "K, dimension 1 of 'expert_ids', is 3, but the window was created for top_k 2.")
    message(dispatch(x_of(), ids_of(top_k=17)), ValueError, "must be 1 to 16, but got 17.")
    message(dispatch(x_of(hidden=64), ids_of()), ValueError,
            "dimension 1 of 'x' must be the window's H = 32, but its shape is [2, 64].")
    message(dispatch(x_of(dtype=np.float16), ids_of()), TypeError,
            "'x' and 'window_rows' must have the same dtype, but got float16 and float32.")
    message(dispatch(x_of(), ids_of(dtype=np.int16)), TypeError,
            "the dtype of 'expert_ids' must be one of int32, int64, but got Int16.")
    message(dispatch(x_of(), ids_of(3)), ValueError,
            "dimension 0 of 'expert_ids' must be T = 2, but its shape is [3, 2].")
    mask = Tensor(np.ones(5, bool))
    message(dispatch(x_of(), ids_of(), x_active_mask=mask), ValueError,
            "dimension 0 of 'x_active_mask' must be T = 2, but its shape is [5].")
    message(dispatch(x_of(), ids_of(), x_active_mask=Tensor(np.ones(2, np.float32))), TypeError,
            "the dtype of 'x_active_mask' must be bool, but got float32.")
    message(dispatch(x_of(), ids_of(), experts=2), ValueError,
            "'local_expert_num' is 2, but the window has 4 experts per rank")
    message(dispatch(x_of(), ids_of(), expert_token_nums_type=2), ValueError,
            "'expert_token_nums_type' must be 0 or 1, but got 2.")
    message(dispatch(x_of(), ids_of(), rows=Tensor(np.zeros((16, H), np.float32))), ValueError,
            "'window_rows' or 'window_scales' does not lie in the window of 'window_control'.")
    message(dispatch(x_of(), ids_of(), control=Tensor(np.zeros(4096, np.int32))), ValueError,
            "'window_control' is not the control tensor of an ExpertWindow, or its window was closed.")
    assert window.stats()["epoch"] == 0  # no case reached a kernel, and the window is still usable
    message(dispatch(x_of(), ids_of(value=E)), RuntimeError,
            "'expert_ids' holds 4 (token 0, k 0), but the window has the experts 0 to 3. Pass a negative id for a "
            "(token, k) that goes to no expert. The window cannot be used any more: create a new one on all ranks, or "
            "resume without the dead.")


@pytest.mark.parametrize("dispatch", [moe_prefill_dispatch, moe_decode_dispatch])
def test_cumulative_sums_of_expert_token_nums(window, dispatch):
    """Field report 11 (sgl-kernel-npu PR 49, 221): one explicit switch between counts and sums."""
    ids = Tensor(np.array([[0, 2], [2, 3]], np.int32))
    for kind, expected in ((1, [1, 0, 2, 1]), (0, [1, 1, 3, 4])):
        nums = dispatch(x_of(), ids, window.rows, window.scales, window.control, E, expert_token_nums_type=kind)[3]
        assert nums.asnumpy().tolist() == expected


def test_arguments_of_combine(window):
    ids = ids_of()
    index = Tensor(np.zeros((2, K), np.int32))
    plan = Tensor(np.zeros(16, np.int32))
    message(lambda: moe_decode_combine(x_of(1), ids, index, plan, window.control)[:1], RuntimeError,
            "found no rows to combine: the window's last dispatch is number 0")


def test_arguments_of_combine_after_a_dispatch(window):
    ids = ids_of()
    _, _, index, _, plan, _, control = moe_decode_dispatch(x_of(), ids, window.rows, window.scales, window.control, E)

    def combine(expand_x=window.outputs, ids=ids, index=index, plan=plan, **options):
        return lambda: moe_decode_combine(expand_x, ids, index, plan, control, **options)[:1]

    message(combine(expand_x=x_of(3)), ValueError, "'expand_x' has 3 rows, but this rank received 4.")
    message(combine(expand_x=x_of(16, 64)), ValueError,
            "H, the last dimension of 'expand_x', is 64, but the window was created for hidden_size 32.")
    message(combine(expand_x=x_of(16, H, np.float16)), TypeError,
            "the dtype of 'expand_x' is float16, but the window was created for float32.")
    message(combine(expert_scales=Tensor(np.ones((2, K), np.float16))), TypeError,
            "the dtype of 'expert_scales' must be float32, but got float16.")
    message(combine(shared_expert_x=x_of(3)), ValueError,
            "dimension 0 of 'shared_expert_x' must be T = 2, but its shape is [3, 32].")
    message(combine(residual_x=x_of(2, 64)), ValueError,
            "dimension 1 of 'residual_x' must be H = 32, but its shape is [2, 64].")
    message(combine(residual_x=x_of(2, H, np.float16)), TypeError,
            "'residual_x' and 'expand_x' must have the same dtype, but got float16 and float32.")
    message(combine(out_dtype=3), ValueError, "'out_dtype' must be -1 or 0 or 1 or 2, but got 3.")
    message(combine(plan=Tensor(np.zeros(17, np.int32))), ValueError,
            "dimension 0 of 'plan' must be the plan's length for these T and K = 16, but its shape is [17].")
    def special(copies=0, constants=0, hidden=H, alpha_1=(1,), alpha_2=(1,), **options):
        tensors = {"ori_x": x_of(2, hidden), "const_expert_alpha_1": Tensor(np.zeros(alpha_1, np.float32)),
                   "const_expert_alpha_2": Tensor(np.zeros(alpha_2, np.float32)), "const_expert_v": x_of(1, hidden)}
        return combine(copy_expert_num=copies, const_expert_num=constants, **{**tensors, **options})

    no_constants = {"const_expert_alpha_1": None, "const_expert_alpha_2": None, "const_expert_v": None}
    message(combine(zero_expert_num=-1), ValueError, "'zero_expert_num' must be 0 to 2147483647, but got -1.")
    message(combine(zero_expert_num=2**31 - 3), ValueError,
            "the window's 4 experts and the special ones are 2147483649, more than the 2147483647 that an int32 id can "
            "name.")
    message(special(copies=1, ori_x=None, **no_constants), ValueError,
            "'ori_x' is None, but copy experts (copy_expert_num) and constant experts (const_expert_num) need it.")
    message(special(**no_constants), ValueError,
            "'ori_x' has no effect without copy experts (copy_expert_num) and constant experts (const_expert_num): "
            "pass None, or the number of them.")
    message(special(copies=1), ValueError, "'const_expert_alpha_1' has no effect without constant experts "
            "(const_expert_num): pass None, or the number of them.")
    message(special(constants=1, const_expert_v=None), ValueError,
            "'const_expert_v' is None, but constant experts (const_expert_num) need it.")
    message(special(constants=1, alpha_2=(1, H)), ValueError,
            "'const_expert_alpha_2' must have 1 dimensions, but its shape is [1, 32].")
    message(special(constants=1, alpha_1=(1, H, 1)), ValueError,
            "'const_expert_alpha_1' must be [V] or [V, H], but its shape is [1, 32, 1].")
    message(special(constants=2), ValueError,
            "dimension 0 of 'const_expert_alpha_1' must be const_expert_num = 2, but its shape is [1].")
    message(special(constants=1, hidden=64), ValueError, "dimension 1 of 'ori_x' must be H = 32")
    message(special(constants=1, const_expert_v=x_of(1, H, np.float16)), TypeError,
            "'const_expert_v' and 'expand_x' must have the same dtype, but got float16 and float32.")
    message(combine(index=Tensor(np.full((2, K), 99, np.int32))), RuntimeError,
            "'expand_idx' holds 99 (token 0, k 0), but the window has 16 rows.")


@pytest.mark.parametrize("expert, place, text", [
    (E + 3, -3, "'expert_ids' holds 7 (token 0, k 0), but the logical and special experts are 0 to 6."),
    (E + 2, 0, "'expand_idx' holds 0 (token 0, k 0), but the expert id there has another place."),
    (E - 1, -3, "'expand_idx' holds -3 (token 0, k 0), but the expert id there has another place."),
])
def test_special_experts_and_their_place_in_combine(window, expert, place, text):
    _, _, _, _, plan, _, control = moe_decode_dispatch(x_of(), ids_of(), window.rows, window.scales, window.control, E)
    index = Tensor(np.full((2, K), place, np.int32))
    message(lambda: moe_decode_combine(window.outputs, ids_of(value=expert), index, plan, control,
                                       zero_expert_num=3)[:1], RuntimeError, text)


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_the_handle_of_an_earlier_dispatch_is_refused(window, phase):
    """Field report 12 (sgl-kernel-npu 801): a second dispatch before the first combine."""
    dispatcher = MoEDispatcher(window, phase)
    _, _, earlier = dispatcher.dispatch(x_of(), ids_of())
    dispatcher.dispatch(x_of(), ids_of())
    message(lambda: (dispatcher.combine(window.outputs, None, earlier),), RuntimeError,
            "got the plan of dispatch 1 for T = 2 and K = 2, but the window's last dispatch is number 2.")


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_second_combine_is_refused(window, phase):
    dispatcher = MoEDispatcher(window, phase)
    _, _, handle = dispatcher.dispatch(x_of(), ids_of())
    dispatcher.combine(window.outputs, None, handle).asnumpy()
    message(lambda: (dispatcher.combine(window.outputs, None, handle),), RuntimeError,
            "dispatch number 1 was combined already, and peers may have gone on. Dispatch again first.")


def test_a_closed_window_is_refused():
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T_MAX,
                             dtype=ms.float32) as window:
        rows, scales, control = window.rows, window.scales, window.control
    message(lambda: moe_decode_dispatch(x_of(), ids_of(), rows, scales, control, E)[2:3], ValueError,
            "or its window was closed")


def test_an_unknown_out_dtype_is_refused(window):
    dispatcher = MoEDispatcher(window)
    _, _, handle = dispatcher.dispatch(x_of(), ids_of())
    for given, shown in ((ms.int32, "Int32"), (np.float32, "<class 'numpy.float32'>"),
                         (np.ones(2), "<class 'numpy.ndarray'>")):
        with pytest.raises(TypeError, match=f"'out_dtype' must be float32, float16 or bfloat16, but got {shown}"):
            dispatcher.combine(window.outputs, None, handle, out_dtype=given)


@pytest.mark.parametrize("length, shown", [(0, "<class 'list'>"), (3, "one of 3")])
def test_a_handle_of_another_kind_is_refused_in_short(window, length, shown):
    dispatcher = MoEDispatcher(window)
    handle = dispatcher.dispatch(x_of(), ids_of())[2]
    with pytest.raises(TypeError, match=rf"'handle' must be what dispatch returned last, .* but got {shown}\.$"):
        dispatcher.combine(window.outputs, None, handle[:length] if length else list(handle))


def test_an_unknown_phase_is_refused(window):
    with pytest.raises(ValueError, match="'phase' must be one of .*, but got 'train'"):
        MoEDispatcher(window, "train")
