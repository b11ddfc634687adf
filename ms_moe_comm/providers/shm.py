"""The provider `shm`, for CPU: shared memory of the operating system."""
import contextlib
import errno
import fcntl
import mmap
import os
import secrets
import stat
from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor
from mindspore.common.dtype import Type
from mindspore.common.np_dtype import bfloat16
from numpy.typing import DTypeLike, NDArray

from ms_moe_comm.group import RankGroup, join_ranks
from ms_moe_comm.providers.contract import WindowProvider

_SHARED_MEMORY = "/dev/shm"
_SEGMENT = "ms_moe_comm-window-"  # a random number follows; older versions had no lock and no "window-" in the name
_NO_INODE = -1  # an error number of our own: for the system this is ENOSPC, too
_NUMPY_DTYPES = {ms.float32: np.float32, ms.float16: np.float16, ms.bfloat16: bfloat16, ms.int32: np.int32,
                 ms.int8: np.int8}


class SharedMemoryProvider(WindowProvider):
    """One segment of /dev/shm for the whole group, for ranks of one user on one machine.

    Rank 0 makes the segment under a random name and reserves its space, so that a lack of space is an error here and
    not a bus fault in a kernel. The other ranks map it. Then its name is removed, also on every path that fails. As
    long as the segment has a name, rank 0 holds a lock on it, which ends with the process. So a segment that killed
    ranks have left has a name and no lock, and the next window of the same user removes it.

    Memory is unmapped when nothing refers to it any more: every tensor made by `tensor` holds the mapping, and so do
    operators in flight through their input tensors. So `free` can be called at any time. A peer that still reads this
    rank's region does so through its own mapping.
    """

    def __init__(self, group: RankGroup) -> None:
        super().__init__(group)
        self._segment: NDArray[np.uint8] | None = None  # the mapping: the regions of all ranks in rank order
        self._stride = 0

    @staticmethod
    def default_block_dim() -> int:
        return 1  # a process per rank is the parallelism

    def allocate(self, window_bytes: int) -> None:
        self._stride = -(-window_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        size = self._stride * self.group.size + mmap.PAGESIZE  # the last page identifies the segment
        with contextlib.ExitStack() as cleanup:
            status, detail, identity, nonce = 0, 0, (0, 0), 0
            if self.group.rank == 0:
                identity, nonce = (_random_word(), _random_word()), _random_word()
                _remove_orphans()
                status, detail = _create(_segment_path(identity), size, nonce, cleanup)
            status, detail, *identity, nonce = self.group.all_gather([status, detail, *identity, nonce])[0].tolist()
            if status == errno.ENOSPC:
                raise MemoryError(f"no window: its {self.group.size} ranks need {size} bytes ({self._stride} each) of "
                                  f"shared memory, but {detail} bytes are free. Lower max_tokens_per_rank or capacity, "
                                  f"or make {_SHARED_MEMORY} larger (docker run --shm-size, mount -o remount,size=).")
            if status == _NO_INODE:
                raise RuntimeError(f"no window: rank 0 cannot make a segment in {_SHARED_MEMORY}, which has bytes but "
                                   "no inode left for another file. Remove files that nobody uses, or allow more of "
                                   "them (mount -o remount,nr_inodes=).")
            if status:
                raise RuntimeError(f"no window: rank 0 cannot make a segment in {_SHARED_MEMORY}: "
                                   f"{os.strerror(status)}. It must be memory (a tmpfs), mounted so that it can be "
                                   "written, in which this user may make files.")
            cleanup.callback(_remove, _segment_path(identity))  # on every rank: rank 0 may have been killed
            self._segment, status = _map(_segment_path(identity), size, nonce)
            statuses = self.group.all_gather([status])[:, 0]
        failed = np.flatnonzero(statuses)
        if failed.size:
            self.free()
            raise RuntimeError(f"no window: rank {join_ranks(failed)} cannot map the segment that rank 0 made "
                               f"({os.strerror(int(statuses[failed[0]]))}): all ranks must be on one machine, in one "
                               f"{_SHARED_MEMORY}, and of one user.")

    def peer_base(self, rank: int) -> int:
        assert self._segment is not None  # after `allocate`
        return self._segment.ctypes.data + rank * self._stride

    def tensor(self, offset: int, shape: tuple[int, ...], dtype: Type) -> Tensor:
        array = self._view(offset, shape, _NUMPY_DTYPES[dtype])
        return Tensor.from_numpy(array)

    def words(self, offset: int, count: int) -> NDArray[np.int64]:
        return self._view(offset, (count,), np.int64)

    def free(self) -> None:
        self._segment = None

    def _view(self, offset: int, shape: tuple[int, ...], numpy_dtype: DTypeLike) -> NDArray:
        assert self._segment is not None  # after `allocate`
        start = self.group.rank * self._stride + offset
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(numpy_dtype).itemsize
        return self._segment[start:start + size].view(numpy_dtype).reshape(shape)


def free_shared_memory() -> int:
    """Bytes that a new segment may take: the room in /dev/shm, and the memory that the machine still has for it."""
    filesystem = os.statvfs(_SHARED_MEMORY)
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        available_kib = next(int(line.split()[1]) for line in meminfo if line.startswith("MemAvailable:"))
    return min(filesystem.f_bavail * filesystem.f_frsize, available_kib * 1024)


def _random_word() -> int:
    return secrets.randbits(63)


def _segment_path(identity: Sequence[int]) -> str:
    return f"{_SHARED_MEMORY}/{_SEGMENT}" + "".join(f"{word:016x}" for word in identity)


def _create(path: str, size: int, nonce: int, cleanup: contextlib.ExitStack) -> tuple[int, int]:
    """Makes the segment, locked until `cleanup`, which removes its name.

    Returns (0, 0), or the error's number and (for a lack of space) the free bytes.
    """
    try:
        free = free_shared_memory()
        if size > free:  # checked before reserving: the machine's memory may run out before /dev/shm does
            return errno.ENOSPC, free
        handle = _open_locked(path)
        cleanup.callback(os.close, handle)  # last: the lock outlives the name
        cleanup.callback(_remove, path)
        os.posix_fallocate(handle, 0, size)
        os.pwrite(handle, nonce.to_bytes(8, "little"), size - 8)
    except OSError as error:
        if error.errno == errno.ENOSPC and _lacks_inodes():
            return _NO_INODE, 0
        lack = error.errno in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG)
        return (errno.ENOSPC, free) if lack else (error.errno or errno.EIO, 0)
    return 0, 0


def _open_locked(path: str) -> int:
    """Makes a file and locks it; the lock ends when the handle is closed, or its process ends."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:
                return handle
        except BaseException:
            _remove(path)
            os.close(handle)
            raise
        os.close(handle)  # another window found it before it was locked, and removed it as an orphan


def _remove_orphans() -> None:
    """Removes this user's segments that nobody has locked: their ranks were killed while they made them."""
    with contextlib.suppress(OSError), os.scandir(_SHARED_MEMORY) as entries:
        for entry in entries:
            if entry.name.startswith(_SEGMENT):
                with contextlib.suppress(OSError):  # it is locked, or gone
                    _remove_orphan(entry)


def _remove_orphan(entry: os.DirEntry[str]) -> None:
    status = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        return
    handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(entry.path)
    finally:
        os.close(handle)


def _lacks_inodes() -> bool:
    filesystem = os.statvfs(_SHARED_MEMORY)
    return filesystem.f_files > 0 and filesystem.f_favail == 0  # 0 of 0 means no limit


def _map(path: str, size: int, nonce: int) -> tuple[NDArray[np.uint8] | None, int]:
    """(the segment as uint8 [size], 0), or (None, the error's number)."""
    try:
        handle = os.open(path, os.O_RDWR)
        try:
            segment = np.frombuffer(mmap.mmap(handle, size), np.uint8)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:  # mmap raises ValueError for a file that is too short
        return None, getattr(error, "errno", None) or errno.EINVAL
    if int.from_bytes(segment[-8:].tobytes(), "little") != nonce:
        return None, errno.ESTALE
    return segment, 0


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):  # it is gone already, or could not be made
        os.unlink(path)
