r"""Dispatch and combine on two ranks: which row each token gets, and what comes back.

Every element of token t of rank r is 10 * (r + 1) + t, and expert e multiplies by e + 1, so each number can be
followed. The ranks bring three tokens and one; no padding is needed.

    msrun --worker_num=2 --local_worker_num=2 --join=True --tail_worker_log=0 --log_dir=/tmp/msrun_logs \
        samples/02_dispatch_combine.py

Rank 0 prints:

    rank 0
      expert 0 received tokens [10, 12]
      expert 1 received tokens [11, 12, 20]
      token 10 visited experts [0, 2] and came back as 40
      token 11 visited experts [3, 1] and came back as 66
      token 12 visited experts [0, 1] and came back as 36
    rank 1
      expert 2 received tokens [10]
      expert 3 received tokens [11, 20]
      token 20 visited experts [1, 3] and came back as 120
"""
import mindspore as ms
import numpy as np
from mindspore import Tensor, communication, nn

from ms_moe_comm import ExpertWindow, MoEDispatcher, moe_grouped_matmul
from ms_moe_comm.group import open_group

EXPERTS, HIDDEN, TOP_K, MAX_TOKENS = 4, 8, 2, 3
EXPERT_IDS = [[[0, 2], [3, 1], [0, 1]], [[1, 3]]]  # of each rank's tokens


class MultiplyingExperts(nn.Cell):
    """Dispatch, a matmul with (e + 1) * identity per expert, combine with weight 1."""

    def __init__(self, window):
        super().__init__()
        self.dispatcher = MoEDispatcher(window, "decode")
        first = window.ep_rank_id * window.local_expert_num
        factors = np.arange(first, first + window.local_expert_num) + 1
        self.weight = Tensor(factors[:, None, None] * np.eye(HIDDEN), ms.float32)

    def construct(self, x, expert_ids, expert_scales):
        expand_x, expert_token_nums, handle = self.dispatcher.dispatch(x, expert_ids)
        outputs = moe_grouped_matmul(expand_x, self.weight, expert_token_nums, self.dispatcher.outputs)
        y = self.dispatcher.combine(outputs, expert_scales, handle)
        return expand_x * 1, expert_token_nums, y


def main():
    ms.set_context(mode=ms.GRAPH_MODE)
    communication.init("mccl")
    with open_group() as group, ExpertWindow.create(
            moe_expert_num=EXPERTS, hidden_size=HIDDEN, top_k=TOP_K, max_tokens_per_rank=MAX_TOKENS, dtype=ms.float32,
            group=group) as window:
        expert_ids = np.array(EXPERT_IDS[group.rank], np.int32)
        x = np.repeat(10 * (group.rank + 1) + np.arange(len(expert_ids)), HIDDEN).reshape(-1, HIDDEN)
        rows, counts, y = MultiplyingExperts(window)(
            Tensor(x, ms.float32), Tensor(expert_ids), Tensor(np.ones_like(expert_ids), ms.float32))

        # rank 0 prints: counts, and one element of each row of the window and of each result, padded to one length
        mine = np.zeros(counts.size + window.capacity + MAX_TOKENS, np.int64)
        for start, values in ((0, counts), (counts.size, rows[:, 0]), (counts.size + window.capacity, y[:, 0])):
            mine[start:start + len(values)] = values.asnumpy()
        for rank, (numbers, ids) in enumerate(zip(group.all_gather(mine), EXPERT_IDS, strict=True)):
            if group.rank == 0:
                counts, rows, y = np.split(numbers, [counts.size, counts.size + window.capacity])
                received = np.split(rows[:counts.sum()], np.cumsum(counts)[:-1])
                print(f"rank {rank}")
                for e, tokens in enumerate(received):
                    print(f"  expert {rank * window.local_expert_num + e} received tokens {tokens.tolist()}")
                for t, experts in enumerate(ids):
                    print(f"  token {10 * (rank + 1) + t} visited experts {experts} and came back as {y[t]}")


if __name__ == "__main__":
    main()
