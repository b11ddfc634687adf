"""One rank of a decode dispatch and combine whose result is known.

`doctor` starts `python -m ms_moe_comm.cli.round_trip ADDRESS RANK SIZE`, a process per rank. Experts return their rows
unchanged and a token's weights are powers of two, so the sum is exact. If every number is right, it prints one line and
exits with 0.
"""
import sys
import time

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_moe_comm.dispatcher import MoEDispatcher
from ms_moe_comm.group import LocalGroup
from ms_moe_comm.window import ExpertWindow

_TOKENS, _HIDDEN, _TOP_K, _EXPERTS_PER_RANK = 5, 64, 2, 2


def round_trip(address: str, rank: int, size: int) -> float:
    """Dispatches and combines once on `size` ranks.

    Returns:
        float, seconds of dispatch and combine.

    Raises:
        AssertionError: wrong numbers.
        Exception: what `ExpertWindow.create` and the operators raise.
    """
    ms.set_device("CPU")
    experts = size * _EXPERTS_PER_RANK
    with LocalGroup(address, rank, size) as group:
        with ExpertWindow.create(moe_expert_num=experts, hidden_size=_HIDDEN, top_k=_TOP_K, max_tokens_per_rank=_TOKENS,
                                 dtype=ms.float32, group=group) as window:
            dispatcher = MoEDispatcher(window, phase="decode")
            x = np.arange(_TOKENS * _HIDDEN, dtype=np.float32).reshape(_TOKENS, _HIDDEN) + 1000 * rank
            expert_ids = (np.arange(_TOKENS)[:, None] + rank + np.array([0, experts // 2])) % experts
            expert_scales = np.tile(np.array([0.25, 0.5], np.float32), (_TOKENS, 1))
            start = time.monotonic()
            expand_x, expert_token_nums, handle = dispatcher.dispatch(Tensor(x), Tensor(expert_ids, ms.int32))
            y = dispatcher.combine(expand_x, Tensor(expert_scales), handle).asnumpy()
            seconds = time.monotonic() - start
            received = np.bincount(np.concatenate(group.all_gather(expert_ids.ravel())), minlength=experts)
            own = received.reshape(size, _EXPERTS_PER_RANK)[rank]
            if not np.array_equal(expert_token_nums.asnumpy(), own):
                raise AssertionError(f"rank {rank} received {expert_token_nums.asnumpy()} tokens per expert, not {own}")
            if not np.array_equal(y, 0.75 * x):
                raise AssertionError(f"rank {rank}: combine gave {y[0, :4]}... first, not {0.75 * x[0, :4]}...")
            group.all_gather([0])  # no rank leaves while a peer still reads
    return seconds


if __name__ == "__main__":
    elapsed = round_trip(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print(f"{1e3 * elapsed:.1f} ms")
