"""Steps whose results every rank knows beforehand: drawn once, then played as fast as the operators run."""

import ctypes
import re

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_moe_comm import reference
from ms_moe_comm.group import LocalGroup


def use_cpu():
    """Sets MindSpore as its users have it: PyNative, with its own operators asynchronous."""
    ms.set_device("CPU")
    ms.set_context(mode=ms.PYNATIVE_MODE)


class KnownStep:
    """Tokens, routing and expert outputs of all ranks, and the results of dispatch and combine on `rank`.

    Args:
        rng (numpy.random.Generator): in the same state on all ranks.
        rank (int): the rank whose results are computed.
        token_nums (list[int]): T per rank.
        experts, top_k, hidden (int): E, K, H.
        capacity (int): A; the expert outputs are a tensor [A, H], as a matmul would leave it.
        everywhere (bool): whether every token goes to as many different ranks as K allows.
    """

    def __init__(self, rng, rank, token_nums, experts, top_k, hidden, capacity, everywhere=False):
        world_size = len(token_nums)
        local = experts // world_size
        draw = ids_everywhere if everywhere else ids_anywhere
        self.ids = [draw(rng, tokens, top_k, world_size, local) for tokens in token_nums]
        x = [rng.standard_normal((tokens, hidden), np.float32) for tokens in token_nums]
        scales = [rng.random((tokens, top_k), np.float32) for tokens in token_nums]
        outputs = [rng.standard_normal((capacity, hidden), np.float32) for _ in token_nums]
        rows, expand_idx, nums = reference.dispatch(x, self.ids, experts)
        self.rows, self.expand_idx, self.nums = rows[rank], expand_idx[rank], nums[rank]
        self.y = reference.combine(outputs, self.ids[rank], scales[rank], self.expand_idx, experts, "float32")
        self.sources = self._sources(rank, world_size, local)
        self.inputs = Tensor(x[rank]), Tensor(self.ids[rank])
        self.expert_outputs, self.scales = Tensor(outputs[rank]), Tensor(scales[rank])

    def dispatch(self, dispatcher, rows_memory):
        """Runs and checks dispatch to the bit; returns its handle. `rows_memory`: the window's, float32 [A, H]."""
        rows_memory[:] = np.nan  # no peer writes before it has this rank's counts
        _, nums, handle = dispatcher.dispatch(*self.inputs)
        check("expert_token_nums", nums.asnumpy(), self.nums)
        check("expand_idx", handle[1].asnumpy(), self.expand_idx)
        check("expand_x", rows_memory[:len(self.rows)], self.rows)
        assert np.isnan(rows_memory[len(self.rows):]).all(), "a row past the total was written"
        return handle

    def combine(self, dispatcher, handle):
        """Runs and checks combine to the bit."""
        check("y", dispatcher.combine(self.expert_outputs, self.scales, handle).asnumpy(), self.y)

    def play(self, dispatcher, rows_memory):
        """Runs and checks dispatch and combine."""
        self.combine(dispatcher, self.dispatch(dispatcher, rows_memory))

    def _sources(self, rank, world_size, local):
        """int [rows]: the rank that sends each of this rank's rows."""
        sources = [source for expert in range(rank * local, (rank + 1) * local) for source in range(world_size)
                   for _ in range(np.count_nonzero(self.ids[source] == expert))]
        return np.array(sources, np.int64)


def ids_anywhere(rng, tokens, top_k, world_size, local):
    """int32 [T, K]: different experts for each token; each rank has `local` experts."""
    ids = [rng.permutation(world_size * local)[:top_k] for _ in range(tokens)]
    return np.array(ids, np.int32).reshape(tokens, top_k)


def ids_everywhere(rng, tokens, top_k, world_size, local):
    """As :func:`ids_anywhere`, and each token goes to as many ranks as it can: pair k to rank token + k."""
    owners = (np.arange(tokens)[:, None] + np.arange(top_k)) % world_size
    part = local // top_k  # each k has its own part of an owner's experts, so no two are the same
    return (owners * local + np.arange(top_k) * part + rng.integers(0, part, (tokens, top_k))).astype(np.int32)


def check(name, got, expected):
    """Raises AssertionError unless shape, dtype and bits are equal."""
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype), (name, got.shape, got.dtype)
    if got.tobytes() != expected.tobytes():
        np.testing.assert_array_equal(got, expected, name)
        raise AssertionError(f"{name}: the bits differ")


def rows_of(window):
    """The window's rows as float32 [A, H]: the memory itself."""
    shape = tuple(window.rows.shape)
    size = int(np.prod(shape))
    return np.frombuffer((ctypes.c_float * size).from_address(window.rows.data_ptr()), np.float32).reshape(shape)


def join(address, rank, size):
    """The group of `size` ranks at `address`; no rank is late unless the test itself fails."""
    return LocalGroup(address, rank, size, timeout=60)


def first_line(error):
    """An operator's message, without the traces that MindSpore adds."""
    return str(error).splitlines()[0]


def refused(text):
    """Whether `text` is the message with which a failed window refuses an operator."""
    return re.match(r"'moe_\w+' on rank \d+ of \d+ is refused\. Epoch \d+ failed here: .* "
                    r"The window cannot be used any more: create a new one on all ranks, or resume without the dead\.$",
                    text) is not None
