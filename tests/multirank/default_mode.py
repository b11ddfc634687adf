"""Ranks in MindSpore's default mode: on each rank an error comes out of the step that caused it, and of no other."""

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

from ms_moe_comm import ExpertWindow, MoEDispatcher, moe_grouped_matmul
from multirank.known_steps import first_line, use_cpu

E, H, K, T = 4, 32, 2, 6


class Step(nn.Cell):
    """Experts that multiply by their number plus one, on this rank's part of them."""

    def __init__(self, window, phase="decode"):
        super().__init__()
        self.dispatcher = MoEDispatcher(window, phase)
        first = window.ep_rank_id * window.local_expert_num
        factors = np.arange(first, first + window.local_expert_num) + 1
        self.weight = Parameter(Tensor(factors[:, None, None] * np.eye(H), ms.float32), name="weight")

    def construct(self, x, expert_ids, expert_scales):
        expand_x, nums, handle = self.dispatcher.dispatch(x, expert_ids)
        outputs = moe_grouped_matmul(expand_x, self.weight, nums, self.dispatcher.outputs)
        return self.dispatcher.combine(outputs, expert_scales, handle)


def tokens(rng, ids=None):
    """x, ids and scales, each a view, and y computed by numpy."""
    x = rng.standard_normal((T, H), np.float32)
    ids = rng.integers(0, E, (T, K), np.int32) if ids is None else ids
    scales = rng.integers(1, 9, (T, K)).astype(np.float32)  # exact in any order
    y = sum(scales[:, k:k + 1] * ((ids[:, k:k + 1] + 1).astype(np.float32) * x) for k in range(K))
    wide = [Tensor(np.concatenate([values, values], axis=1)) for values in (x, ids, scales)]
    return [t[:, :t.shape[1] // 2] for t in wide], y


def errors_and_recoveries(group):
    """100 steps that are refused on all ranks, each followed by a right one; then windows that die, one by one."""
    use_cpu()
    rng = np.random.default_rng(group.rank)
    shape = {"moe_expert_num": E, "hidden_size": H, "top_k": K, "max_tokens_per_rank": T, "dtype": ms.float32,
             "group": group}
    all_rows = group.size * T * K
    with ExpertWindow.create(**shape, capacity=all_rows - 1) as window:
        step = Step(window, "prefill")
        for _ in range(100):
            refuse(step, tokens(rng, np.zeros((T, K), np.int32))[0],
                   f"rank 0 would get {all_rows} rows, but a window has capacity for {all_rows - 1}")
            right(step, rng)
    for i in range(15):
        window = ExpertWindow.create(**shape, timeout=20)
        step = Step(window, "prefill")
        right(step, rng)
        if group.rank == i % group.size:
            refuse(step, tokens(rng, np.full((T, K), E, np.int32))[0], "'expert_ids' holds 4 (token 0, k 0)")
        else:
            refuse(step, tokens(rng)[0], f"rank {i % group.size} gave up: an expert id was out of range there")
        refuse(step, tokens(rng)[0], "is refused. Epoch 2 failed here")
        window.close()
    print("100 refused, 15 recoveries")


def refuse(step, given, text):
    try:
        step(*given)  # nobody looks at the result
    except RuntimeError as error:
        assert text in first_line(error), first_line(error)
        return
    raise AssertionError(f"no error: {text}")


def right(step, rng):
    given, expected = tokens(rng)
    np.testing.assert_array_equal(step(*given).asnumpy(), expected)
