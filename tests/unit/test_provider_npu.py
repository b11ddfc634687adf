"""The providers for NPUs as far as a CPU can show: their collective logic and refusals, over a stand-in for CANN."""

import threading

import mindspore as ms
import numpy as np
import pytest
from mindspore.utils.dlpack import from_dlpack

from ms_moe_comm import _lib, provider_npu

REGION = 2 << 20


class Threads:
    """Ranks as threads of this process, which is all that a provider asks of a group."""

    def __init__(self, size):
        self.size, self._barrier, self._rows = size, threading.Barrier(size, timeout=20), [None] * size

    def run(self, function):
        """function(group) on every rank; returns results, or the exceptions that ended them."""
        results = [None] * self.size

        def body(rank):
            try:
                results[rank] = function(Rank(self, rank))
            except Exception as error:  # pylint: disable=broad-except  # the result that a test looks at
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
        "npu_device": lambda: (ranks.number, 1000 + ranks.number),
        "npu_granularity": lambda: REGION,
        "npu_enable_peer": lambda peer: True,
        "npu_reserve": lambda size: (ranks.number + 1) << 40,
        "npu_export": lambda address, fabric, pids: [address, int(fabric), *sorted(pids), *[0] * (30 - len(pids))],
        "npu_import": lambda handle, fabric, size: handle[0] >> 20,
    }
    for name, call in calls.items():
        monkeypatch.setattr(_lib, name, call, raising=False)
    return ranks


def allocate(ranks):
    def body(group):
        ranks.number = group.rank
        provider = provider_npu.VirtualMemoryProvider(group)
        provider.allocate(3 << 20)
        return [provider.peer_base(peer) for peer in range(group.size)]

    return body


def test_vmm_maps_every_peer(cann):
    bases = Threads(3).run(allocate(cann))
    for rank, own in enumerate(bases):
        assert own == [(peer + 1) << (40 if peer == rank else 20) for peer in range(3)]


def test_vmm_names_the_peer_out_of_reach(cann, monkeypatch):
    monkeypatch.setattr(_lib, "npu_enable_peer", lambda peer: not (peer == 2 and cann.number == 0))
    errors = Threads(3).run(allocate(cann))
    assert "device 2 of rank 2 cannot be reached from this one" in str(errors[0]) and "npu-smi" in str(errors[0])
    assert all("rank 0 has no memory for it" in str(error) for error in errors[1:])


def test_vmm_error_of_cann_ends_all_ranks(cann, monkeypatch):
    def reserve(size):
        if cann.number == 1:
            raise RuntimeError("aclrtMallocPhysical failed with ACL error 207001")
        return 1 << 40

    monkeypatch.setattr(_lib, "npu_reserve", reserve)
    errors = Threads(2).run(allocate(cann))
    assert "rank 1 has no memory for it" in str(errors[0])
    assert "4194304 bytes of device memory cannot be shared: aclrtMallocPhysical failed with ACL error 207001" in str(
        errors[1])


def test_vmm_across_servers_asks_for_fabric_handles(cann, monkeypatch):
    fabrics = []
    monkeypatch.setattr(provider_npu, "server_word", lambda: cann.number)
    monkeypatch.setattr(_lib, "npu_enable_peer", lambda peer: pytest.fail("no peer is on this server"))
    monkeypatch.setattr(_lib, "npu_import", lambda handle, fabric, size: fabrics.append(fabric) or 7)
    assert not any(isinstance(result, Exception) for result in Threads(2).run(allocate(cann)))
    assert fabrics == [True, True]


def test_words_are_an_array_that_nobody_writes_in_vain(cann, monkeypatch):
    """`stats` reshapes and views what it gets, as it does with the memory itself on a CPU."""
    monkeypatch.setattr(_lib, "read_npu_words", lambda address, count: [address - (1 << 40) + i for i in range(count)],
                        raising=False)
    cann.number = 0
    provider = provider_npu.VirtualMemoryProvider(Rank(Threads(1), 0))
    provider.allocate(3 << 20)
    words = provider.words(64, 6)
    assert words.dtype == np.int64 and words.reshape(2, 3).max(axis=0).tolist() == [67, 68, 69]
    assert words.view(np.int32)[:2].tolist() == [64, 0]
    with pytest.raises(ValueError, match="read-only"):
        words[0] = 1


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
    (error,) = Threads(1).run(lambda group: provider_npu.SymmetricMemoryProvider(group).allocate(100))
    assert message in str(error)


def test_symm_takes_only_the_shmem_that_is_loaded():
    with pytest.raises(OSError):
        provider_npu.symmetric_address(1 << 40, 0)


@pytest.mark.parametrize("dtype, numpy_dtype, code, bits", [
    (ms.float32, np.float32, 2, 32), (ms.int32, np.int32, 0, 32), (ms.float16, np.float16, 2, 16)])
def test_a_tensor_of_foreign_memory_is_that_memory(dtype, numpy_dtype, code, bits):
    memory = np.arange(12).astype(numpy_dtype)
    tensor = from_dlpack(_lib.memory_tensor(memory.ctypes.data, 1, 0, code, bits, [3, 4]))  # 1: CPU
    assert tensor.shape == (3, 4) and tensor.dtype == dtype and tensor.data_ptr() == memory.ctypes.data
    memory[5] = 77
    assert tensor.asnumpy()[1, 1] == 77
