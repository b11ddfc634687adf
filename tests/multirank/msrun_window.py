"""One rank of test_msrun.py, started by msrun: windows on the world group and on subgroups, in both modes."""
import mindspore as ms
import numpy as np
from mindspore import Tensor, communication

from ms_moe_comm.dispatcher import MoEDispatcher
from ms_moe_comm.window import ExpertWindow


def round_trip(group, size):
    """Dispatch and combine with experts that return their rows, and weights that add up to one: y is x."""
    with ExpertWindow.create(moe_expert_num=2 * size, hidden_size=64, top_k=2, max_tokens_per_rank=4, dtype=ms.float32,
                             group=group) as window:
        assert window.ep_world_size == size
        x = np.random.default_rng(window.ep_rank_id).random((3, 64), np.float32)
        expert_ids = np.random.default_rng(window.ep_rank_id).integers(0, 2 * size, (3, 2))
        for phase in ("prefill", "decode"):
            dispatcher = MoEDispatcher(window, phase)
            expand_x, _, handle = dispatcher.dispatch(Tensor(x), Tensor(expert_ids, ms.int32))
            y = dispatcher.combine(expand_x, Tensor(np.full((3, 2), 0.5, np.float32)), handle)
            assert np.array_equal(y.asnumpy(), x), (group, phase)


def main():
    """Prints one line per rank and mode if everything was right."""
    ms.set_device("CPU")
    communication.init()
    rank, size = communication.get_rank(), communication.get_group_size()
    members = list(range(rank % 2, size, 2))
    communication.create_group(f"every second from {rank % 2}", members)
    for mode in (ms.GRAPH_MODE, ms.PYNATIVE_MODE):
        ms.set_context(mode=mode)
        round_trip(None, size)
        round_trip(f"every second from {rank % 2}", len(members))
        assert ms.get_context("mode") == mode
        print(f"rank {rank} of {size} mode {mode} right", flush=True)


if __name__ == "__main__":
    main()
