"""What every provider of window memory does."""
import abc


class WindowProvider(abc.ABC):
    """Memory for one window of a group: a region per rank, all of one size.

    Attributes:
        on_npu (bool): the memory is a device's, which the host reaches by copies alone.
    """

    on_npu = False

    def __init__(self, group):
        self.group = group

    @staticmethod
    @abc.abstractmethod
    def default_block_dim():
        """The cores that an operator takes unless it is told otherwise."""

    @abc.abstractmethod
    def allocate(self, window_bytes):
        """Reserves and maps `window_bytes` of zeroed memory per rank. Collective: succeeds or raises on all ranks.

        Raises:
            MemoryError: not enough memory; states needed and free bytes.
            RuntimeError: a rank cannot reach the memory, or is missing.
        """

    @abc.abstractmethod
    def peer_base(self, rank):
        """Address of that rank's region in this process."""

    @abc.abstractmethod
    def tensor(self, offset, shape, dtype):
        """A Tensor that is the memory at byte `offset` of this rank's region, not a copy of it."""

    @abc.abstractmethod
    def words(self, offset, count):
        """numpy.ndarray int64 [count] that is the memory at byte `offset` of this rank's region."""

    @abc.abstractmethod
    def free(self):
        """Gives up this rank's hold on the memory. Not collective; tensors that still live keep theirs."""
