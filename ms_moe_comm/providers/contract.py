"""What every provider of window memory does."""
import abc

import numpy as np
from mindspore import Tensor
from mindspore.common.dtype import Type
from numpy.typing import NDArray

from ms_moe_comm.group import RankGroup


class WindowProvider(abc.ABC):
    """Memory for one window of a group: a region per rank, all of one size.

    Attributes:
        on_npu (bool): the memory is a device's, which the host reaches by copies alone.
    """

    on_npu = False

    def __init__(self, group: RankGroup) -> None:
        self.group = group

    @staticmethod
    @abc.abstractmethod
    def default_block_dim() -> int:
        """The default number of cores of an operator."""

    @abc.abstractmethod
    def allocate(self, window_bytes: int) -> None:
        """Reserves and maps `window_bytes` of zeroed memory per rank. Collective: succeeds or raises on all ranks.

        Raises:
            MemoryError: not enough memory; states needed and free bytes.
            RuntimeError: a rank cannot reach the memory, or is missing.
        """

    @abc.abstractmethod
    def peer_base(self, rank: int) -> int:
        """Address of the rank's region in this process."""

    @abc.abstractmethod
    def tensor(self, offset: int, shape: tuple[int, ...], dtype: Type) -> Tensor:
        """A Tensor that is the memory at byte `offset` of this rank's region, not a copy of it."""

    @abc.abstractmethod
    def words(self, offset: int, count: int) -> NDArray[np.int64]:
        """numpy.ndarray int64 [count] that is the memory at byte `offset` of this rank's region."""

    @abc.abstractmethod
    def free(self) -> None:
        """Gives up this rank's hold on the memory. Not collective; tensors that still live keep theirs."""
