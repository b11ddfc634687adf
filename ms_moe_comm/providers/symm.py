"""The provider `symm`, for Ascend: MindSpore's symmetric memory (shmem)."""
import ctypes
import os
import re
import socket
from pathlib import Path

import mindspore as ms
from mindspore import Tensor

from ms_moe_comm.group import join_ranks
from ms_moe_comm.providers.npu import PAGE_BYTES, NpuProvider

HEAP_VARIABLE = "MS_SYMMETRIC_MEMORY_HEAP_SIZE"
_DEFAULT_HEAP_BYTES = 1 << 30

# What symmetric memory needs for its first allocation. If it is missing, MindSpore fails without saying so.
_STORE_PORT_OFFSET, _STORE_PORT = 13, 8769  # rank 0 listens at MS_SCHED_PORT + 13, or at 8769 without that variable
_LEAST_DRIVER = (100, 1, 18, 0, 100)  # V100R001C18B100

_held: list[tuple[Tensor, int]] = []  # (tensor, bytes): symmetric memory of this process


class SymmetricMemoryProvider(NpuProvider):
    """MindSpore's symmetric memory (shmem); one server or one super-node.

    MindSpore allocates it on all ranks of the world together. So a window's group must be the whole world, and all
    ranks must create their windows in the same order.
    """

    def allocate(self, window_bytes: int) -> None:
        size = -(-window_bytes // PAGE_BYTES) * PAGE_BYTES
        self._agree(self._refusal(size))
        from mindspore.ops.auto_generate import create_symmetric_memory

        memory = create_symmetric_memory((size,), ms.uint8, ms.communication.GlobalComm.WORLD_COMM_GROUP)
        ms.runtime.synchronize()  # the address exists only once the allocation has run
        _held.append((memory, size))
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

    def _refusal(self, size: int) -> Exception | None:
        world_size = os.environ.get("RANK_SIZE")
        if world_size is None or "RANK_ID" not in os.environ:
            return RuntimeError("no window: symmetric memory needs RANK_ID and RANK_SIZE, which msrun sets: start the "
                                "ranks with msrun, or set MS_MOE_COMM_WINDOW=vmm on all ranks.")
        if int(world_size) != self.group.size:
            return RuntimeError(f"no window: symmetric memory is allocated over all {world_size} ranks of the world, "
                                f"but this group has {self.group.size}. Set MS_MOE_COMM_WINDOW=vmm on all ranks.")
        heap = int(os.environ.get(HEAP_VARIABLE) or _DEFAULT_HEAP_BYTES)
        held = sum(earlier for _, earlier in _held)
        if held + size > heap:
            return MemoryError(f"no window: it needs {size} bytes of symmetric memory and earlier ones hold {held}, "
                               f"but {HEAP_VARIABLE} is {heap}. Set it to {held + size} or more before the first "
                               "window, on all ranks.")
        return None if symmetric_memory_runs() else store_refusal() or driver_refusal()


def symmetric_address(address: int, world_rank: int) -> int:
    """Where the symmetric memory at `address` lies for `world_rank`, as this process sees it; 0 if out of reach.

    Asks the copy of shmem that MindSpore has loaded and initialised: a second copy would have another state.

    Raises:
        OSError: MindSpore has not loaded shmem.
    """
    shmem = ctypes.CDLL("libshmem.so", mode=os.RTLD_NOW | os.RTLD_NOLOAD)
    shmem.shmem_ptr.restype, shmem.shmem_ptr.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_int)
    return shmem.shmem_ptr(address, world_rank) or 0


def symmetric_memory_runs() -> bool:
    """Whether this process has symmetric memory already."""
    try:
        return ctypes.CDLL("libshmem.so", mode=os.RTLD_NOW | os.RTLD_NOLOAD).shmem_init_status() != 0
    except (OSError, AttributeError):
        return False


def store_refusal() -> Exception | None:
    """Why rank 0 cannot listen at the port where the ranks of symmetric memory meet; None on other ranks."""
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


def driver_refusal() -> Exception | None:
    """Why symmetric memory would refuse the driver, whose version it reads beside a folder of LD_LIBRARY_PATH."""
    advice = "Set MS_MOE_COMM_WINDOW=vmm on all ranks."
    folders = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if "/driver/lib64" in f"{folder}/"]
    if not folders:
        return RuntimeError("no window: symmetric memory looks for the driver in LD_LIBRARY_PATH, which names no "
                            f".../driver/lib64. Source the driver's set_env.bash. {advice}")
    file = Path(folders[0].split("/driver/lib64")[0], "driver", "version.info")
    try:
        [version] = re.findall(r"^Innerversion=(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        [numbers] = re.findall(r"^V(\d+)R(\d+)C(\d+)(?:SPC(\d+))?(?:B(\d+))?$", version)
    except (OSError, ValueError) as error:
        return RuntimeError(f"no window: symmetric memory needs the driver's version, but {file} does not tell it "
                            f"({error}). {advice}")
    if tuple(int(number or 0) for number in numbers) < _LEAST_DRIVER:
        return RuntimeError(f"no window: symmetric memory needs driver V100R001C18B100 or newer, but {file} says "
                            f"{version}. Install a newer one (npu-smi info tells the version). {advice}")
    return None
