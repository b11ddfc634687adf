"""The providers for NPUs as far as a CPU can show: their collective logic and refusals, over a stand-in for CANN."""

import socket
import sys
import threading
import types

import mindspore as ms
import numpy as np
import pytest

from ms_moe_comm import _lib
from ms_moe_comm.parameters import WindowParameters

sys.modules["ms_moe_comm._ascend"] = types.ModuleType("_ascend")  # the package may be built without CANN
from ms_moe_comm.providers import npu, symm, vmm  # noqa: E402

del sys.modules["ms_moe_comm._ascend"]

REGION = 2 << 20


class Threads:
    """Ranks as threads of this process; a provider needs no more from a group."""

    def __init__(self, size):
        self.size, self._barrier, self._rows = size, threading.Barrier(size, timeout=20), [None] * size

    def run(self, function):
        """Runs function(group) on every rank; returns the results or exceptions."""
        results = [None] * self.size

        def body(rank):
            try:
                results[rank] = function(Rank(self, rank))
            except Exception as error:  # noqa: BLE001  # the test checks it
                results[rank] = error

        threads = [threading.Thread(target=body, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def gather(self, rank, values):
        self._barrier.wait()
        self._rows[rank] = list(values)
        self._barrier.wait()
        return np.array(self._rows, np.int64)


class Rank:
    def __init__(self, threads, rank):
        self.size, self.rank, self._threads = threads.size, rank, threads

    def all_gather(self, values):
        return self._threads.gather(self.rank, values)


@pytest.fixture
def cann(monkeypatch):
    """CANN's calls: rank r, a thread, has device r; its region is at (r + 1) << 40, for its peers at (r + 1) << 20."""
    ranks = threading.local()
    calls = {
        "device": lambda: (ranks.number, 1000 + ranks.number),
        "granularity": lambda: REGION,
        "enable_peer": lambda peer: True,
        "reserve": lambda size: (ranks.number + 1) << 40,
        "export_region": lambda address, kind, pids: [address, kind, *sorted(pids), *[0] * (30 - len(pids))],
        "import_region": lambda handle, kind, size: handle[0] >> 20,
        "release_region": lambda address: None,
    }
    for name, call in calls.items():
        monkeypatch.setattr(npu._ascend, name, call, raising=False)
    monkeypatch.setattr(_lib, "try_kernels", lambda memory, cpu_cores: None)  # CANN's, too
    return ranks


def allocate(ranks):
    def body(group):
        ranks.number = group.rank
        window = vmm.VirtualMemoryProvider(group)
        window.allocate(3 << 20)
        return [window.peer_base(peer) for peer in range(group.size)]

    return body


def test_vmm_maps_every_peer(cann):
    bases = Threads(3).run(allocate(cann))
    for rank, own in enumerate(bases):
        assert own == [(peer + 1) << (40 if peer == rank else 20) for peer in range(3)]


def test_vmm_names_the_peer_out_of_reach(cann, monkeypatch):
    monkeypatch.setattr(npu._ascend, "enable_peer", lambda peer: not (peer == 2 and cann.number == 0))
    errors = Threads(3).run(allocate(cann))
    assert "device 2 of rank 2 cannot be reached from this one" in str(errors[0]) and "npu-smi" in str(errors[0])
    assert all("rank 0 could not do its part" in str(error) for error in errors[1:])


def test_vmm_error_of_cann_ends_all_ranks(cann, monkeypatch):
    def reserve(size):
        if cann.number == 1:
            raise RuntimeError("aclrtMallocPhysical failed with ACL error 207001")
        return 1 << 40

    monkeypatch.setattr(npu._ascend, "reserve", reserve)
    errors = Threads(2).run(allocate(cann))
    assert "rank 1 could not do its part" in str(errors[0])
    assert "4194304 bytes of device memory cannot be had: aclrtMallocPhysical failed with ACL error 207001" in str(
        errors[1])


def test_vmm_kernels_that_do_not_run_end_all_ranks(cann, monkeypatch):
    def try_kernels(memory, cpu_cores):
        assert memory == (cann.number + 1) << 40 and cpu_cores == 0, "the rank's own region, on the NPU"
        if cann.number == 1:
            raise RuntimeError("kernels do not run on this device: ...")

    monkeypatch.setattr(_lib, "try_kernels", try_kernels)
    errors = Threads(2).run(allocate(cann))
    assert "rank 1 could not do its part" in str(errors[0])
    assert str(errors[1]).startswith("no window: kernels do not run on this device")


@pytest.mark.parametrize("cores", [1, 2, 7, 64])
def test_the_canary_comes_back(cores):
    """Runs the kernel on the host twin; afterwards the memory that it wrote is zero."""
    memory = np.full(8 * cores + 1, 7, np.uint64)
    _lib.try_kernels(memory.ctypes.data, cores)
    assert not memory[:-1].any() and memory[-1] == 7


def test_vmm_tries_the_kinds_of_handles_in_order(cann, monkeypatch):
    """The fabric kind is first. If one rank cannot export or map a kind, all ranks leave it, with nothing mapped."""
    tried, released = [], []

    def export(address, kind, pids):
        tried.append((cann.number, kind))
        if kind == 0 and cann.number == 2:
            raise RuntimeError("this CANN has no aclrtMemExportToShareableHandleV2")
        return [address, *[0] * 31]

    def import_region(handle, kind, size):
        if kind == 1 and cann.number == 0 and handle[0] == 3 << 40:
            raise RuntimeError("aclrtMapMem failed with ACL error 1")
        return (handle[0] >> 20) + kind

    monkeypatch.setattr(npu._ascend, "export_region", export)
    monkeypatch.setattr(npu._ascend, "import_region", import_region)
    monkeypatch.setattr(npu._ascend, "release_region", lambda address: released.append((cann.number, address)))
    bases = Threads(3).run(allocate(cann))
    for rank, own in enumerate(bases):
        assert own == [(peer + 1) << 40 if peer == rank else ((peer + 1) << 20) + 2 for peer in range(3)]
    assert sorted(tried) == [(rank, kind) for rank in range(3) for kind in range(3)]
    assert sorted(released) == sorted([(0, (2 << 20) + 1)] + [
        (rank, ((peer + 1) << 20) + 1) for rank in (1, 2) for peer in range(3) if peer != rank])


def test_vmm_across_servers_has_fabric_handles_alone(cann, monkeypatch):
    kinds = []
    monkeypatch.setattr(vmm, "server_word", lambda: cann.number)
    monkeypatch.setattr(npu._ascend, "enable_peer", lambda peer: pytest.fail("no peer is on this server"))
    monkeypatch.setattr(npu._ascend, "import_region", lambda handle, kind, size: kinds.append(kind) or 7)
    assert not any(isinstance(result, Exception) for result in Threads(2).run(allocate(cann)))
    assert kinds == [0, 0]

    def refuse(address, kind, pids):
        raise RuntimeError("aclrtMemExportToShareableHandleV2 failed with ACL error 207000")

    monkeypatch.setattr(npu._ascend, "export_region", refuse)
    for error in Threads(2).run(allocate(cann)):
        assert "cannot be shared by any kind of handle that serves ranks on 2 servers; fabric: aclrtMem" in str(error)


def test_words_are_an_array_that_nobody_writes_in_vain(cann, monkeypatch):
    """`stats` reshapes and views the words, as it does with the memory itself on a CPU."""
    monkeypatch.setattr(npu._ascend, "read_words",
                        lambda address, count: [address - (1 << 40) + i for i in range(count)], raising=False)
    cann.number = 0
    window = vmm.VirtualMemoryProvider(Rank(Threads(1), 0))
    window.allocate(3 << 20)
    words = window.words(64, 6)
    assert words.dtype == np.int64 and words.reshape(2, 3).max(axis=0).tolist() == [67, 68, 69]
    assert words.view(np.int32)[:2].tolist() == [64, 0]
    with pytest.raises(ValueError, match="read-only"):
        words[0] = 1


@pytest.mark.parametrize("memory, cores, block_dim", [
    ("shm", 48, 1), ("vmm", 48, 48), ("symm", 40, 40), ("vmm", 80, 64)])
def test_operators_take_all_vector_cores_of_an_npu(memory, cores, block_dim, monkeypatch):
    monkeypatch.setattr(npu._ascend, "vector_cores", lambda: cores, raising=False)
    shape = {"ep_world_size": 2, "moe_expert_num": 4, "hidden_size": 64, "top_k": 2, "max_tokens_per_rank": 8,
             "dtype": ms.float32, "memory": memory}
    assert WindowParameters(**shape).block_dim == block_dim
    assert WindowParameters(**shape, block_dim=5).block_dim == 5


def test_mindspore_takes_the_device_before_cann_is_asked_for_it(cann, monkeypatch):
    calls = []
    monkeypatch.setattr(ms.runtime, "synchronize", lambda: calls.append("synchronize"))
    monkeypatch.setattr(npu._ascend, "vector_cores", lambda: calls.append("vector_cores") or 48, raising=False)
    monkeypatch.setattr(npu._ascend, "device", lambda: calls.append("device") or (0, 1))
    assert vmm.VirtualMemoryProvider.default_block_dim() == 48
    cann.number = 0
    vmm.VirtualMemoryProvider(Rank(Threads(1), 0)).allocate(100)
    assert calls == ["synchronize", "vector_cores", "synchronize", "device"]


@pytest.mark.parametrize("environment, message", [
    ({}, "needs RANK_ID and RANK_SIZE, which msrun sets"),
    ({"RANK_ID": "0", "RANK_SIZE": "8"},
     "over all 8 ranks of the world, but this group has 1. Set MS_MOE_COMM_WINDOW=vmm"),
    ({"RANK_ID": "0", "RANK_SIZE": "1", "MS_SYMMETRIC_MEMORY_HEAP_SIZE": "1048576"},
     "it needs 2097152 bytes of symmetric memory and earlier ones hold 0, but MS_SYMMETRIC_MEMORY_HEAP_SIZE is "
     "1048576"),
])
def test_symm_refusals(environment, message, monkeypatch):
    for name in ("RANK_ID", "RANK_SIZE", "MS_SYMMETRIC_MEMORY_HEAP_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (error,) = Threads(1).run(lambda group: symm.SymmetricMemoryProvider(group).allocate(100))
    assert message in str(error)


SYMM = {"RANK_ID": "0", "RANK_SIZE": "1", "MS_SYMMETRIC_MEMORY_HEAP_SIZE": str(64 << 20)}


def symm_refusal(monkeypatch, **environment):
    for name, value in {**SYMM, **environment}.items():
        monkeypatch.setenv(name, value)
    (error,) = Threads(1).run(lambda group: symm.SymmetricMemoryProvider(group).allocate(100))
    return str(error)


def test_symm_names_the_port_that_it_needs(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refusal = symm_refusal(monkeypatch, MS_SCHED_PORT=str(port - 13))
        assert f"needs port {port} on rank 0 (MS_SCHED_PORT + 13" in refusal


@pytest.mark.parametrize("version, message", [
    (None, "does not tell it"),
    ("Version=25.2.0\n", "does not tell it"),
    ("Version=23.0\nInnerversion=V100R001C15SPC006B220\n", "needs driver V100R001C18B100 or newer, but"),
    ("Version=25.2.0\nInnerversion=V100R001C22SPC003B220\n", None),
])
def test_symm_reads_the_version_of_the_driver(version, message, tmp_path, monkeypatch):
    folder = tmp_path / "driver" / "lib64" / "common"
    folder.mkdir(parents=True)
    if version is not None:
        (tmp_path / "driver" / "version.info").write_text(version)
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/usr/lib:{folder}:/opt/driver/lib64")
    refusal = symm.driver_refusal()
    assert (refusal is None) if message is None else message in str(refusal)


def test_symm_looks_for_the_driver(monkeypatch):
    monkeypatch.setattr(symm, "store_refusal", lambda: None)
    assert "which names no .../driver/lib64" in symm_refusal(monkeypatch, LD_LIBRARY_PATH="/usr/lib:/driver/lib")


def test_symm_takes_only_the_shmem_that_is_loaded():
    with pytest.raises(OSError, match="libshmem.so"):
        symm.symmetric_address(1 << 40, 0)


@pytest.mark.parametrize("dtype, numpy_dtype", [
    (ms.float32, np.float32), (ms.int32, np.int32), (ms.float16, np.float16), (ms.int8, np.int8)])
def test_a_tensor_of_foreign_memory_is_that_memory(dtype, numpy_dtype):
    """Shows on a CPU what an NPU needs: a Parameter that is a part of a window."""
    memory = np.arange(12).astype(numpy_dtype)
    tensor = _lib.memory_tensor(memory.ctypes.data, False, str(dtype).lower(), [3, 4])
    assert tensor.shape == (3, 4) and tensor.dtype == dtype and tensor.data_ptr() == memory.ctypes.data
    assert tensor.is_contiguous() and tensor.storage_offset() == 0
    assert tensor.untyped_storage().size() == memory.nbytes  # DLPack would make it one row longer
    parameter = ms.Parameter(np.zeros((3, 4), numpy_dtype), requires_grad=False)
    parameter.set_data(tensor)
    memory[5] = 77
    assert tensor.asnumpy()[1, 1] == 77 and parameter.asnumpy()[1, 1] == 77
