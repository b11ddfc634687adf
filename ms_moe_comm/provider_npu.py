"""Window memory on Ascend. Written against the interfaces of MindSpore 2.10 and CANN 8.5; no NPU has run it yet.

Both providers hold their memory until the process ends: a peer's kernel, or an operator in flight, may still use it
when a window is closed, and neither interface frees collectively.
"""
import ctypes
import os
import re
import socket
from pathlib import Path

import mindspore as ms
import numpy as np

from ms_moe_comm import _ascend, _lib
from ms_moe_comm.group import join_ranks
from ms_moe_comm.provider import WindowProvider

HEAP_VARIABLE = "MS_SYMMETRIC_MEMORY_HEAP_SIZE"
_DEFAULT_HEAP_BYTES = 1 << 30
_PAGE_BYTES = 2 << 20  # memory of both providers comes in pages of this size

# What symmetric memory asks of the machine before its first allocation, and MindSpore says only by a failure.
_STORE_PORT_OFFSET, _STORE_PORT = 13, 8769  # where rank 0 listens: from MS_SCHED_PORT on, or without it
_LEAST_DRIVER = (100, 1, 18, 0, 100)  # V100R001C18B100
# The kinds of handle by which memory is shared, in the order in which they are tried: of a super-node, of a server,
# and of a server and listed processes. The first needs Ascend 910_93, the first two CANN 8.5.
_HANDLE_KINDS = ("fabric", "server", "processes")

_held = []  # symmetric tensors of this process
_held_bytes = 0


class NpuProvider(WindowProvider):
    """What both have in common: regions in device memory, of which the host has only addresses."""

    on_npu = True

    def __init__(self, group):
        super().__init__(group)
        take_device()
        self._bases = []  # address of each rank's region in this process

    def peer_base(self, rank):
        return self._bases[rank]

    def tensor(self, offset, shape, dtype):
        return _lib.memory_tensor(self._bases[self.group.rank] + offset, True, str(dtype).lower(), list(shape))

    def words(self, offset, count):
        """A copy, since the host cannot reach the memory itself; the operators that write it must have ended."""
        copy = np.array(_ascend.read_words(self._bases[self.group.rank] + offset, count), np.int64)
        copy.flags.writeable = False  # what is written to a copy would be lost
        return copy

    def free(self):
        self._bases = []

    def _try_kernels(self):
        """The canary, in memory that nobody uses yet: an error here says more than the first operator's."""
        refusal = None
        try:
            _lib.try_kernels(self._bases[self.group.rank], 0)
        except RuntimeError as error:
            refusal = RuntimeError(f"no window: {error}")
        self._agree(refusal)

    def _agree(self, refusal):
        """Raises on all ranks if any has a refusal (an exception, or None), so that none waits for another in vain."""
        refused = self.group.all_gather([int(refusal is not None)])[:, 0].nonzero()[0]
        if refusal is not None:
            raise refusal
        if refused.size:
            raise RuntimeError(f"no window: rank {join_ranks(refused)} could not do its part; the error of that rank "
                               "says why.")


class SymmetricMemoryProvider(NpuProvider):
    """MindSpore's symmetric memory (shmem); one server or one super-node.

    MindSpore allocates it over all ranks of the world at once. So a window's group must be the whole world, and all
    ranks must create their windows in the same order.
    """

    def allocate(self, window_bytes):
        global _held_bytes
        size = -(-window_bytes // _PAGE_BYTES) * _PAGE_BYTES
        self._agree(self._refusal(size))
        from mindspore.ops.auto_generate import create_symmetric_memory

        memory = create_symmetric_memory((size,), ms.uint8, ms.communication.GlobalComm.WORLD_COMM_GROUP)
        ms.runtime.synchronize()  # the address exists only once the allocation has run
        _held.append(memory)
        _held_bytes += size
        world_ranks = self.group.all_gather([int(os.environ["RANK_ID"])])[:, 0].tolist()
        refusal = None
        try:
            self._bases = [symmetric_address(memory.data_ptr(), world_rank) for world_rank in world_ranks]
            unreachable = [rank for rank, base in enumerate(self._bases) if not base]
            if unreachable:
                refusal = RuntimeError(f"no window: the symmetric memory of rank {join_ranks(unreachable)} cannot be "
                                       "reached from this one: `symm` serves one server or one super-node. Set "
                                       "MS_MOE_COMM_WINDOW=vmm on all ranks, or use a group within reach.")
        except OSError as error:
            refusal = RuntimeError(f"no window: MindSpore has not loaded its libshmem.so ({error}). Set "
                                   "MS_MOE_COMM_WINDOW=vmm on all ranks.")
        self._agree(refusal)
        self._try_kernels()

    def _refusal(self, size):
        world_size = os.environ.get("RANK_SIZE")
        if world_size is None or "RANK_ID" not in os.environ:
            return RuntimeError("no window: symmetric memory needs RANK_ID and RANK_SIZE, which msrun sets: start the "
                                "ranks with msrun, or set MS_MOE_COMM_WINDOW=vmm on all ranks.")
        if int(world_size) != self.group.size:
            return RuntimeError(f"no window: symmetric memory is allocated over all {world_size} ranks of the world, "
                                f"but this group has {self.group.size}. Set MS_MOE_COMM_WINDOW=vmm on all ranks.")
        heap = int(os.environ.get(HEAP_VARIABLE) or _DEFAULT_HEAP_BYTES)
        if _held_bytes + size > heap:
            return MemoryError(f"no window: it needs {size} bytes of symmetric memory and earlier ones hold "
                               f"{_held_bytes}, but {HEAP_VARIABLE} is {heap}. Set it to {_held_bytes + size} or more "
                               "before the first window, on all ranks.")
        return None if symmetric_memory_runs() else store_refusal() or driver_refusal()


class VirtualMemoryProvider(NpuProvider):
    """CANN's virtual memory calls: any group on one server; across the servers of a super-node on Ascend 910_93."""

    def allocate(self, window_bytes):
        rank = self.group.rank
        device, pid = _ascend.device()
        table = self.group.all_gather([device, pid, server_word()]).tolist()
        same_server = [row[2] == table[rank][2] for row in table]
        self._agree(self._reach(table, same_server))
        page = max(_ascend.granularity(), _PAGE_BYTES)
        region_bytes = -(-window_bytes // page) * page
        base, refusal = None, None
        try:
            base = _ascend.reserve(region_bytes)
        except RuntimeError as error:
            refusal = RuntimeError(f"no window: {region_bytes} bytes of device memory cannot be had: {error}. Lower "
                                   "max_tokens_per_rank or capacity.")
        self._agree(refusal)
        servers = len({row[2] for row in table})
        causes = []
        for kind in range(len(_HANDLE_KINDS) if servers == 1 else 1):
            self._bases, cause = self._share(base, region_bytes, kind, [row[1] for row in table])
            if self._bases:
                break
            causes.append(f"{_HANDLE_KINDS[kind]}: {cause}")
        else:
            raise RuntimeError(f"no window: device memory cannot be shared by any kind of handle that serves ranks on "
                               f"{servers} server{'s' * (servers > 1)}; {'; '.join(causes)}. Set "
                               "MS_MOE_COMM_WINDOW=symm on all ranks.")
        self._try_kernels()

    def _share(self, base, region_bytes, kind, pids):
        """Every rank's region by handles of one kind: (addresses, None), or (None, cause) on all ranks."""
        handle, cause = [0] * 32, None
        try:
            handle = _ascend.export_region(base, kind, pids)
        except RuntimeError as error:
            cause = str(error)
        rows = self.group.all_gather([int(cause is not None), *handle]).tolist()
        failed = [rank for rank, row in enumerate(rows) if row[0]]
        if failed:
            return None, cause or f"rank {join_ranks(failed)} cannot export its memory"
        bases = []
        for peer, row in enumerate(rows):
            try:
                own = peer == self.group.rank
                bases.append(base if own else _ascend.import_region(row[1:], kind, region_bytes))
            except RuntimeError as error:
                cause = f"the memory of rank {peer} cannot be mapped: {error}"
                break
        failed = self.group.all_gather([int(cause is not None)])[:, 0].nonzero()[0]
        if not failed.size:
            return bases, None
        for address in bases:
            if address != base:
                _ascend.release_region(address)
        return None, cause or f"rank {join_ranks(failed)} cannot map the memory of others"

    def _reach(self, table, same_server):
        """Peer access to every device of this server."""
        for peer, (device, _, _) in enumerate(table):
            if not same_server[peer] or peer == self.group.rank:
                continue
            try:
                reached = _ascend.enable_peer(device)
            except RuntimeError as error:
                return RuntimeError(f"no window: no access to device {device} of rank {peer}: {error}.")
            if not reached:
                return RuntimeError(f"no window: device {device} of rank {peer} cannot be reached from this one. Use "
                                    "cards that are joined by HCCS (npu-smi info -t topo), and do not hide devices "
                                    "with ASCEND_RT_VISIBLE_DEVICES.")
        return None


def take_device():
    """MindSpore takes its device at the first operator, and for each thread anew; before, CANN does not know of one."""
    ms.runtime.synchronize()


PROVIDERS = {"symm": SymmetricMemoryProvider, "vmm": VirtualMemoryProvider}


def vector_cores():
    """Those of this process's device, as many of them as an operator can take."""
    take_device()
    return min(_ascend.vector_cores(), _lib.limits()["max_blocks"])


def symmetric_address(address, world_rank):
    """Where the symmetric memory at `address` lies for `world_rank`, as this process sees it; None if out of reach.

    Of the copy of shmem that MindSpore has loaded and initialised: a second one would have another state.

    Raises:
        OSError: MindSpore has loaded none.
    """
    shmem = ctypes.CDLL("libshmem.so", mode=os.RTLD_NOW | os.RTLD_NOLOAD)
    shmem.shmem_ptr.restype, shmem.shmem_ptr.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_int)
    return shmem.shmem_ptr(address, world_rank)


def symmetric_memory_runs():
    """Whether this process has symmetric memory already."""
    try:
        return ctypes.CDLL("libshmem.so", mode=os.RTLD_NOW | os.RTLD_NOLOAD).shmem_init_status() != 0
    except (OSError, AttributeError):
        return False


def store_refusal():
    """Why rank 0 cannot listen where symmetric memory has the ranks find each other; None on the others."""
    if os.environ["RANK_ID"] != "0":
        return None
    scheduler = os.environ.get("MS_SCHED_PORT")
    port = int(scheduler) + _STORE_PORT_OFFSET if scheduler else _STORE_PORT
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", port))
    except (OSError, OverflowError) as error:
        return RuntimeError(f"no window: symmetric memory needs port {port} on rank 0 (MS_SCHED_PORT + "
                            f"{_STORE_PORT_OFFSET}, or {_STORE_PORT} without that), which cannot be had: {error}. "
                            "Choose another MS_SCHED_PORT, or set MS_MOE_COMM_WINDOW=vmm on all ranks.")
    return None


def driver_refusal():
    """What symmetric memory finds wrong with the driver, whose version it reads beside a folder of LD_LIBRARY_PATH."""
    advice = "Set MS_MOE_COMM_WINDOW=vmm on all ranks."
    folders = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if "/driver/lib64" in f"{folder}/"]
    if not folders:
        return RuntimeError("no window: symmetric memory looks for the driver in LD_LIBRARY_PATH, which names no "
                            f".../driver/lib64. Source the driver's set_env.bash. {advice}")
    file = Path(folders[0].split("/driver/lib64")[0], "driver", "version.info")
    try:
        [version] = re.findall(r"^Innerversion=(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        numbers = re.fullmatch(r"V(\d+)R(\d+)C(\d+)(?:SPC(\d+))?(?:B(\d+))?", version).groups()
    except (OSError, ValueError, AttributeError) as error:
        return RuntimeError(f"no window: symmetric memory needs the driver's version, but {file} does not tell it "
                            f"({error}). {advice}")
    if tuple(int(number or 0) for number in numbers) < _LEAST_DRIVER:
        return RuntimeError(f"no window: symmetric memory needs driver V100R001C18B100 or newer, but {file} says "
                            f"{version}. Install a newer one (npu-smi info tells the version). {advice}")
    return None


def server_word():
    """63 bits that differ between servers: of the kernel's boot id, which containers of a server share."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip().replace("-", "")
    return int(boot_id, 16) & (1 << 63) - 1
