"""What the providers for NPUs have in common: regions in device memory. The host has only their addresses.

Written against the interfaces of MindSpore 2.10 and CANN 8.5; no NPU has run it yet.
"""
import mindspore as ms
import numpy as np
from mindspore import Tensor
from mindspore.common.dtype import Type
from numpy.typing import NDArray

from ms_moe_comm import _ascend, _lib
from ms_moe_comm.group import RankGroup, join_ranks
from ms_moe_comm.providers.contract import WindowProvider

PAGE_BYTES = 2 << 20  # device memory comes in pages of this size


class NpuProvider(WindowProvider):
    """Regions in device memory, held until the process ends.

    A peer's kernel, or an operator in flight, may still use them when a window is closed, and CANN has no collective
    way to free them.
    """

    on_npu = True

    def __init__(self, group: RankGroup) -> None:
        super().__init__(group)
        take_device()
        self._bases: list[int] = []  # address of each rank's region in this process

    @staticmethod
    def default_block_dim() -> int:
        """The number of vector cores of this process's device, at most as many as an operator can take."""
        take_device()
        return min(_ascend.vector_cores(), _lib.limits()["max_blocks"])

    def peer_base(self, rank: int) -> int:
        return self._bases[rank]

    def tensor(self, offset: int, shape: tuple[int, ...], dtype: Type) -> Tensor:
        return _lib.memory_tensor(self._bases[self.group.rank] + offset, True, str(dtype).lower(), list(shape))

    def words(self, offset: int, count: int) -> NDArray[np.int64]:
        """A copy, since the host cannot reach the memory itself; the operators that write it must have ended."""
        copy = np.array(_ascend.read_words(self._bases[self.group.rank] + offset, count), np.int64)
        copy.flags.writeable = False  # a write to the copy would be lost
        return copy

    def free(self) -> None:
        self._bases = []

    def _try_kernels(self) -> None:
        """Runs the canary in memory that nobody uses yet: its error says more than the first operator's would."""
        refusal = None
        try:
            _lib.try_kernels(self._bases[self.group.rank], 0)
        except RuntimeError as error:
            refusal = RuntimeError(f"no window: {error}")
        self._agree(refusal)

    def _agree(self, refusal: Exception | None) -> None:
        """Raises on all ranks if any has a refusal (an exception, or None), so that no rank waits for a failed one."""
        refused = self.group.all_gather([int(refusal is not None)])[:, 0].nonzero()[0]
        if refusal is not None:
            raise refusal
        if refused.size:
            raise RuntimeError(f"no window: rank {join_ranks(refused)} could not do its part; the error of that rank "
                               "says why.")


def take_device() -> None:
    """Makes MindSpore take its device for this thread, as its first operator would. Before, CANN knows of no device."""
    ms.runtime.synchronize()
