"""What ranks do when one of them fails: each function runs on every rank, and prints what it saw."""

import time

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from ms_moe_comm import ExpertWindow, MoEDispatcher
from ms_moe_comm.group import SoloGroup

E, H, K, T = 8, 32, 2, 4
TIMEOUT = 3.0


def make_window(group, capacity=None):
    ms.set_device("CPU")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    return ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T, dtype=ms.float32,
                               group=group, timeout=TIMEOUT, capacity=capacity)


def everybody_to_everybody(group):
    """Tokens of this rank, at least one for each rank."""
    experts_per_rank = E // group.size
    ids = (np.arange(T * K) % group.size * experts_per_rank).reshape(T, K).astype(np.int32)
    return Tensor(np.ones((T, H), np.float32)), Tensor(ids)


def report(start, error):
    print(f"after {time.monotonic() - start:.1f} s: {str(error).splitlines()[0]}", flush=True)


def one_is_killed_in_dispatch(group, phase, victim, late):
    """`victim` is killed while it waits for the counts of `late`: it has written its own counts, but no rows."""
    with make_window(group) as window:
        dispatcher = MoEDispatcher(window, phase)
        x, ids = everybody_to_everybody(group)
        group.all_gather([0])
        start = time.monotonic()
        if group.rank == late:
            time.sleep(1.5)
        print("in dispatch", flush=True)
        try:
            dispatcher.dispatch(x, ids)[1].asnumpy()
        except RuntimeError as error:
            report(start, error)
        else:
            print("dispatch ended as if nothing had happened", flush=True)
        try:
            dispatcher.dispatch(x, ids)[1].asnumpy()
        except RuntimeError as error:
            report(start, error)
        else:
            print("a dead window was used", flush=True)


def one_does_not_come(group, phase, step):
    """The last rank skips dispatch, or combine."""
    with make_window(group) as window:
        dispatcher = MoEDispatcher(window, phase)
        x, ids = everybody_to_everybody(group)
        start = time.monotonic()
        absent = group.rank == group.size - 1
        try:
            if not (absent and step == "dispatch"):
                rows, nums, handle = dispatcher.dispatch(x, ids)
                nums.asnumpy()
                if not (absent and step == "combine"):
                    dispatcher.combine(rows, None, handle).asnumpy()
        except RuntimeError as error:
            report(start, error)
        else:
            print("no error", flush=True)
        group.all_gather([0])  # nobody leaves before all have seen the error


def an_id_is_out_of_range(group):
    """Rank 0 has a wrong id: its error says so, and the others do not wait for the deadline."""
    with make_window(group) as window:
        x, ids = everybody_to_everybody(group)
        if group.rank == 0:
            ids = Tensor(np.where(np.arange(T * K).reshape(T, K) == 5, E, ids.asnumpy()).astype(np.int32))
        start = time.monotonic()
        try:
            MoEDispatcher(window).dispatch(x, ids)[1].asnumpy()
        except RuntimeError as error:
            report(start, error)
        else:
            print("no error", flush=True)
        group.all_gather([0])


def capacity_is_too_small(group):
    """All ranks find the same verdict, no row moves, and the window stays usable."""
    with make_window(group, capacity=T) as window:
        dispatcher = MoEDispatcher(window)
        window.rows.asnumpy()
        ids = np.zeros((T, K), np.int32) + np.array([[0, 1]], np.int32)
        start = time.monotonic()
        try:
            dispatcher.dispatch(Tensor(np.ones((T, H), np.float32)), Tensor(ids))[1].asnumpy()
        except RuntimeError as error:
            report(start, error)
        else:
            print("no error", flush=True)
        assert not window.rows.asnumpy().any(), "a row was moved"
        ids = np.array([[group.rank * E // group.size]], np.int32)
        rows, _, handle = dispatcher.dispatch(Tensor(np.full((1, H), 7, np.float32)), Tensor(ids))
        np.testing.assert_array_equal(dispatcher.combine(rows, None, handle).asnumpy(), 7)
        print("usable", flush=True)


class RoundTrip(nn.Cell):
    """Dispatch and combine in one graph; experts return their rows."""

    def __init__(self, window, phase):
        super().__init__()
        self.dispatcher = MoEDispatcher(window, phase)

    def construct(self, x, expert_ids):
        rows, _, handle = self.dispatcher.dispatch(x, expert_ids)
        return self.dispatcher.combine(rows, None, handle)


def one_leaves_under_a_graph(group, phase):
    """The last rank ends after two steps. The others' graph ends with an error; a graph on a new window works."""
    with make_window(group) as window:
        ms.set_context(mode=ms.GRAPH_MODE)
        graph, (x, ids) = RoundTrip(window, phase), everybody_to_everybody(group)
        for _ in range(2):
            np.testing.assert_array_equal(graph(x, ids).asnumpy(), K)
        if group.rank == group.size - 1:
            return
        start = time.monotonic()
        for step in (graph, RoundTrip(window, phase)):  # MindSpore does not run a failed graph again
            try:
                step(x, ids).asnumpy()
            except RuntimeError as error:
                report(start, error)  # MindSpore raises errors of graphs 3 seconds late
            else:
                print("no error", flush=True)
    with make_window(SoloGroup()) as window:
        ms.set_context(mode=ms.GRAPH_MODE)
        np.testing.assert_array_equal(RoundTrip(window, phase)(x, ids).asnumpy(), K)
        print("a new window works", flush=True)
