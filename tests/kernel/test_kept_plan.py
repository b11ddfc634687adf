"""A second tensor of the same routing, dispatched with the kept plan: no exchange of counts; a plan that is no longer
valid is refused.
"""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_moe_comm import ExpertWindow, MoEDispatcher, reference
from tensors import to_numpy

E, H, K, T = 6, 64, 3, 37


@pytest.fixture(autouse=True)
def pynative_mode():
    ms.set_context(mode=ms.PYNATIVE_MODE)


@pytest.fixture(params=[1, 3], ids=["one core", "three cores"])
def window(request):
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T, dtype=ms.float32,
                             block_dim=request.param, capacity=T * K) as window:
        yield window


def random_tokens(rng):
    return rng.standard_normal((T, H), np.float32), rng.integers(-1, E, (T, K)).astype(np.int32)


def combine_plainly(dispatcher, rows, handle):
    return dispatcher.combine(rows, None, handle).asnumpy()


def test_second_tensor_of_one_routing(window):
    """Other rows go to the same places, any number of times; the exchange counter stands still."""
    rng = np.random.default_rng(20)
    _, ids = random_tokens(rng)
    dispatcher = MoEDispatcher(window, "prefill")
    handle = None
    for step in range(4):
        x = rng.standard_normal((T, H), np.float32)
        expand_x, expand_idx, nums = reference.dispatch([x], [ids], E)
        rows, got_nums, handle = dispatcher.dispatch(Tensor(x), Tensor(ids), kept_handle=handle)
        np.testing.assert_array_equal(got_nums.asnumpy(), nums[0])
        np.testing.assert_array_equal(handle[1].asnumpy(), expand_idx[0])
        np.testing.assert_array_equal(to_numpy(rows)[:len(expand_x[0])], expand_x[0])
        y = combine_plainly(dispatcher, rows, handle)
        expected = reference.combine([expand_x[0]], ids, None, expand_idx[0], E, "float32")
        np.testing.assert_array_equal(y.view(np.uint32), expected.view(np.uint32))
        stats = window.stats()
        assert (stats["epoch"], stats["exchange"]) == (step + 1, 1)


def refusal(dispatcher, x, ids, handle, **options):
    with pytest.raises(RuntimeError) as error:
        dispatcher.dispatch(Tensor(x), Tensor(ids), kept_handle=handle, **options)[1].asnumpy()
    line = str(error.value).splitlines()[0]
    print(line)
    return line


def test_before_the_combine(window):
    """Without the combine before, peers may still read the rows that this dispatch would overwrite."""
    x, ids = random_tokens(np.random.default_rng(21))
    dispatcher = MoEDispatcher(window, "prefill")
    handle = dispatcher.dispatch(Tensor(x), Tensor(ids))[2]
    assert ("a dispatch with 'kept_plan' needs the combine of the one before, but dispatch number 1 has none. Combine "
            "first, or pass None to exchange anew.") in refusal(dispatcher, x, ids, handle)


def test_another_dispatch_came_between(window):
    x, ids = random_tokens(np.random.default_rng(22))
    dispatcher = MoEDispatcher(window, "prefill")
    handles = []
    for _ in range(2):
        rows, _, handle = dispatcher.dispatch(Tensor(x), Tensor(ids))
        combine_plainly(dispatcher, rows, handle)
        handles.append(handle)
    assert ("'kept_plan' is of the window's exchange of counts number 1, but the last one is number 2. Keep the plan "
            "of the dispatch before") in refusal(dispatcher, x, ids, handles[0])


@pytest.mark.parametrize("other, text", [
    ("ids", "'kept_plan' was made for other expert_ids, x_active_mask or placement map"),
    ("mask", "'kept_plan' was made for other expert_ids, x_active_mask or placement map"),
    ("quant_mode", "'kept_plan' is for quant_mode 0, but quant_mode is 2."),
])
def test_other_arguments(window, other, text):
    x, ids = random_tokens(np.random.default_rng(23))
    ids[3] = [1, 2, 3]
    dispatcher = MoEDispatcher(window, "prefill")
    rows, _, handle = dispatcher.dispatch(Tensor(x), Tensor(ids))
    combine_plainly(dispatcher, rows, handle)
    options = {}
    if other == "ids":
        ids[3] = [2, 1, 3]  # each expert gets as many rows as before
    elif other == "mask":
        options["x_active_mask"] = Tensor(np.arange(T) != 3)
    else:
        dispatcher = MoEDispatcher(window, "prefill", quant_mode=2)
    assert text in refusal(dispatcher, x, ids, handle, **options)


def test_a_plan_of_other_tokens_has_another_length(window):
    x, ids = random_tokens(np.random.default_rng(24))
    dispatcher = MoEDispatcher(window, "prefill")
    handle = dispatcher.dispatch(Tensor(x), Tensor(ids))[2]
    with pytest.raises(ValueError, match="kept_plan.* must be .*the words of a plan for T and K"):
        dispatcher.dispatch(Tensor(x[:5]), Tensor(ids[:5]), kept_handle=handle)


def test_decode_keeps_no_plan(window):
    x, ids = random_tokens(np.random.default_rng(25))
    dispatcher = MoEDispatcher(window, "decode")
    handle = dispatcher.dispatch(Tensor(x), Tensor(ids))[2]
    with pytest.raises(ValueError, match="'kept_handle' has no effect in phase 'decode'"):
        dispatcher.dispatch(Tensor(x), Tensor(ids), kept_handle=handle)


def test_drops_are_counted_again():
    """A dispatch that keeps its plan drops the same rows."""
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T, dtype=ms.float32,
                             capacity=70, overflow="drop") as window:
        x, ids = random_tokens(np.random.default_rng(26))
        dropped = int((ids >= 0).sum()) - 70
        assert dropped > 0
        dispatcher = MoEDispatcher(window, "prefill")
        handle = None
        for step in range(3):
            rows, _, handle = dispatcher.dispatch(Tensor(x), Tensor(ids), kept_handle=handle)
            combine_plainly(dispatcher, rows, handle)
            assert window.stats()["dropped_to"] == window.stats()["dropped_from"] == [dropped * (step + 1)]
