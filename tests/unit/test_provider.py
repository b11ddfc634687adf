"""Memory of the windows of one machine: all ranks share it, it is reserved, and no path leaves anything behind."""
import ctypes
import errno
import fcntl
import gc
import os
import signal
import subprocess
import sys
import textwrap

import mindspore as ms
import numpy as np
import pytest

from ms_moe_comm.group import LocalGroup, SoloGroup
from ms_moe_comm.providers import shm
from ms_moe_comm.providers.choice import make_provider, provider_name
from ms_moe_comm.providers.shm import SharedMemoryProvider, free_shared_memory
from rank_helpers import run_ranks, segments, unique_address

WINDOW_BYTES = 10_000  # no multiple of a page


class HookedGroup:
    """A group whose n-th all_gather (from 1) first calls a function with the values; its result replaces them."""

    def __init__(self, group, hooks):
        self.rank, self.size = group.rank, group.size
        self._group, self._hooks, self._calls = group, hooks, 0

    def all_gather(self, values):
        self._calls += 1
        hook = self._hooks.get(self._calls)
        return self._group.all_gather(values if hook is None else hook(values))


@pytest.fixture(name="address")
def address_of_this_test(request):
    return unique_address(request.node.nodeid)


@pytest.fixture(autouse=True)
def nothing_left():
    before = set(segments())
    yield
    assert set(segments()) <= before, "a segment is left in shared memory"


def read(address, size):
    return bytes((ctypes.c_char * size).from_address(address))


def allocate_on_all(address, size, hooks_of_rank=None, window_bytes=WINDOW_BYTES, use=None):
    """Allocates on `size` ranks, calls use(provider, group) on each, and returns the results or errors."""
    def program(rank):
        with LocalGroup(address, rank, size, timeout=5) as group:
            hooked = HookedGroup(group, (hooks_of_rank or {}).get(rank, {}))
            provider = SharedMemoryProvider(hooked)
            provider.allocate(window_bytes)
            return use(provider, group) if use else None

    return run_ranks(size, program)


def test_every_rank_sees_every_region(address):
    def use(provider, group):
        first = [read(provider.peer_base(rank), WINDOW_BYTES) for rank in range(3)]
        group.all_gather([0])
        provider.words(8, 2)[:] = [group.rank + 1, -group.rank]
        group.all_gather([0])
        seen = [np.frombuffer(read(provider.peer_base(rank) + 8, 16), np.int64).tolist() for rank in range(3)]
        group.all_gather([0])
        return first, seen

    for first, seen in allocate_on_all(address, 3, use=use):
        assert all(region == bytes(WINDOW_BYTES) for region in first), "new memory is zero"
        assert seen == [[1, 0], [2, -1], [3, -2]]


def test_regions_lie_apart(address):
    def use(provider, _):
        return np.diff([provider.peer_base(rank) for rank in range(3)]).tolist()

    for distances in allocate_on_all(address, 3, use=use):
        assert all(distance >= WINDOW_BYTES and distance % 4096 == 0 for distance in distances)


def test_segment_is_private_and_reserved(address):
    seen = {}

    def look(values):
        [path] = segments()
        seen.update(mode=os.stat(path).st_mode & 0o777, reserved=os.stat(path).st_blocks * 512)
        return values

    assert allocate_on_all(address, 2, {0: {2: look}}) == [None, None]
    assert seen["mode"] == 0o600
    assert seen["reserved"] >= 2 * WINDOW_BYTES


def test_name_is_gone_while_memory_lives(address):
    def use(_, group):
        group.all_gather([0])
        return segments()

    assert allocate_on_all(address, 2, use=use) == [[], []]


def test_lack_of_space_is_told_on_all(address):
    errors = allocate_on_all(address, 2, window_bytes=1 << 50)
    for error in errors:
        assert isinstance(error, MemoryError)
        assert f"2 ranks need {(2 << 50) + 4096} bytes" in str(error) and "bytes are free" in str(error)
        assert str(error) == str(errors[0])


def test_nothing_is_reserved_that_memory_lacks(address, monkeypatch):
    """/dev/shm may have more room than the machine has memory; filling it would get processes killed."""
    monkeypatch.setattr(shm, "free_shared_memory", lambda: 8192)
    monkeypatch.setattr(os, "posix_fallocate", None)
    for error in allocate_on_all(address, 2):
        assert isinstance(error, MemoryError) and "but 8192 bytes are free" in str(error)


@pytest.mark.parametrize("number", [None, errno.ENOSPC, errno.ENOMEM])
def test_lack_of_space_while_reserving(address, monkeypatch, number):
    """Another process may take the space after the check."""
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(shm, "free_shared_memory", lambda: 1 << 60)
    if number:
        monkeypatch.setattr(os, "posix_fallocate", fail)
    for error in allocate_on_all(address, 2, window_bytes=1 << 50):
        assert isinstance(error, MemoryError) and f"2 ranks need {(2 << 50) + 4096} bytes" in str(error)
        assert f"but {1 << 60} bytes are free" in str(error)


def test_free_space_is_what_the_system_says():
    statistics = os.statvfs("/dev/shm")
    assert 0 < free_shared_memory() <= statistics.f_bavail * statistics.f_frsize


def test_rank_on_another_machine(address, monkeypatch):
    created = shm._create

    def create_and_lose(path, *arguments):
        result = created(path, *arguments)
        os.unlink(path)
        return result

    monkeypatch.setattr(shm, "_create", create_and_lose)
    for error in allocate_on_all(address, 2):
        assert isinstance(error, RuntimeError)
        assert "rank 0, 1 cannot map the segment" in str(error) and "No such file" in str(error)
        assert "all ranks must be on one machine" in str(error)


def test_another_segment_is_noticed(address):
    def other_nonce(values):
        return [*values[:-1], values[-1] ^ 1]

    for error in allocate_on_all(address, 2, {0: {1: other_nonce}}):
        assert isinstance(error, RuntimeError) and "rank 0, 1 cannot map the segment" in str(error)


def test_segment_cannot_be_made(address, monkeypatch):
    monkeypatch.setattr(shm, "_SHARED_MEMORY", "/proc/no_such_folder")
    monkeypatch.setattr(shm, "free_shared_memory", lambda: 1 << 60)
    for error in allocate_on_all(address, 2):
        assert isinstance(error, RuntimeError) and "rank 0 cannot make a segment" in str(error)


@pytest.mark.parametrize("leaver", [0, 1])
@pytest.mark.parametrize("call", [1, 2])
def test_rank_that_ends_halfway_leaves_nothing(address, leaver, call):
    def leave(_):
        raise KeyError("this rank ends")

    errors = allocate_on_all(address, 2, {leaver: {call: leave}})
    assert isinstance(errors[leaver], KeyError)
    assert isinstance(errors[1 - leaver], RuntimeError) and f"rank {leaver} of 2" in str(errors[1 - leaver])


def test_killed_rank_zero_leaves_nothing(address):
    """A rank that is killed between making the segment and removing its name cannot clean up: its peers do."""
    script = textwrap.dedent("""
        import os, signal, sys
        from ms_moe_comm.group import LocalGroup
        from ms_moe_comm.providers.shm import SharedMemoryProvider

        class EndsInSecondGather(LocalGroup):
            calls = 0
            def all_gather(self, values):
                self.calls += 1
                if self.calls == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().all_gather(values)

        SharedMemoryProvider(EndsInSecondGather(sys.argv[1], 0, 2)).allocate(10_000)
    """)
    with subprocess.Popen([sys.executable, "-c", script, address]) as rank_zero:
        with LocalGroup(address, 1, 2, timeout=60) as group:
            with pytest.raises(RuntimeError, match="rank 0 of 2 ended"):
                SharedMemoryProvider(group).allocate(WINDOW_BYTES)
        assert rank_zero.wait(10) == -signal.SIGKILL


def killed_with_a_segment(how):
    """Runs a rank that is killed where `how` says while it makes its window; returns the segments that it leaves."""
    script = textwrap.dedent("""
        import os, signal
        from ms_moe_comm.group import SoloGroup
        from ms_moe_comm.providers.shm import SharedMemoryProvider

        def end(*_):
            os.kill(os.getpid(), signal.SIGKILL)

        {how} = end
        SharedMemoryProvider(SoloGroup()).allocate(10_000)
    """).format(how=how)
    before = set(segments())
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    return set(segments()) - before


@pytest.mark.parametrize("how", ["os.posix_fallocate", "os.pwrite", "SoloGroup.all_gather"])
def test_what_a_killed_rank_leaves_is_removed_by_the_next_window(how):
    """It is killed while it reserves the segment, or, as the only rank, before it has removed the name."""
    left = killed_with_a_segment(how)
    assert len(left) == 1
    SharedMemoryProvider(SoloGroup()).allocate(WINDOW_BYTES)
    assert not left & set(segments())


def test_only_orphans_of_this_user_are_removed(monkeypatch, tmp_path):
    monkeypatch.setattr(shm, "_SHARED_MEMORY", str(tmp_path))
    kinds = ("orphan", "folder", "link", "locked")
    names = [*(f"ms_moe_comm-window-{kind}" for kind in kinds), "ms_moe_comm-", "other"]
    orphan, folder, link, locked, *others = [tmp_path / name for name in names]
    for path in (orphan, locked, *others):
        path.write_bytes(b"")
    folder.mkdir()
    link.symlink_to(others[1])
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    shm._remove_orphans()
    assert orphan.exists(), "it is another user's"
    monkeypatch.undo()
    monkeypatch.setattr(shm, "_SHARED_MEMORY", str(tmp_path))
    with open(locked, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        shm._remove_orphans()
    assert sorted(tmp_path.iterdir()) == sorted([folder, link, locked, *others])


def test_a_window_leaves_the_segment_of_another_alone(address):
    """The other segment is being made: it is reserved, but not all ranks have mapped it yet."""
    def make_another(values):
        SharedMemoryProvider(SoloGroup()).allocate(WINDOW_BYTES)
        return values

    hooks = {rank: {1: make_another, 2: make_another} for rank in range(2)}
    assert allocate_on_all(address, 2, hooks) == [None, None]


def test_a_segment_that_is_taken_for_an_orphan_is_made_again(address, monkeypatch):
    """Another window looks for orphans after the file was made and before it is locked."""
    lock, looked = fcntl.flock, []

    def look_before(handle, operation):
        if not looked:
            looked.append(segments())
            shm._remove_orphans()
            looked.append(segments())
        lock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", look_before)
    assert allocate_on_all(address, 2) == [None, None]
    assert len(looked[0]) == len(looked[1]) + 1, "the other window did not see it"


def test_many_windows_at_once():
    def make(_):
        for _ in range(50):
            SharedMemoryProvider(SoloGroup()).allocate(WINDOW_BYTES)

    assert run_ranks(8, make) == [None] * 8


def test_tensors_are_the_memory():
    provider = SharedMemoryProvider(SoloGroup())
    provider.allocate(1 << 16)
    for dtype in (ms.float32, ms.float16, ms.bfloat16, ms.int32):
        tensor = provider.tensor(4096, (4, 32), dtype)
        assert tensor.dtype == dtype and tensor.shape == (4, 32)
        assert tensor.data_ptr() == provider.peer_base(0) + 4096
        provider.words(4096, 8)[:] = 0x3F803F803F803F80  # two bfloat16 ones, and very nearly one as float32
        if dtype in (ms.float32, ms.bfloat16):
            assert np.allclose(tensor.float().asnumpy()[0, :16], 1, atol=0.01)
        provider.words(4096, 8)[:] = 0


def mapped():
    with open("/proc/self/maps", encoding="ascii") as maps:
        return {line.split()[0] for line in maps if "/dev/shm/ms_moe_comm-" in line}


def test_memory_lives_as_long_as_a_tensor():
    gc.collect()
    before = mapped()  # windows of other tests, held by their compiled graphs
    provider = SharedMemoryProvider(SoloGroup())
    provider.allocate(1 << 16)
    tensor = provider.tensor(0, (16,), ms.float32)
    provider.free()
    gc.collect()
    assert mapped() != before and tensor.asnumpy().tolist() == [0] * 16
    del tensor
    gc.collect()
    assert mapped() == before


def test_provider_of_cpu():
    assert provider_name() == "shm"
    assert isinstance(make_provider("shm", SoloGroup()), SharedMemoryProvider)


def test_provider_that_is_not_there(monkeypatch):
    monkeypatch.setenv("MS_MOE_COMM_WINDOW", "symm")
    with pytest.raises(ValueError, match="MS_MOE_COMM_WINDOW is 'symm', but this version has for the device CPU: shm"):
        provider_name()


def test_device_without_provider(monkeypatch):
    monkeypatch.setattr(ms, "get_context", {"device_target": "Ascend"}.get)
    with pytest.raises(ValueError, match="no window memory for the device Ascend; available: CPU"):
        provider_name()


def last_line_with_shared_memory(options, command):
    """The last line of a process that calls `create` after `command`, with a tmpfs of its own as /dev/shm."""
    script = ("import mindspore as ms; ms.set_device('CPU'); from ms_moe_comm import ExpertWindow; ExpertWindow.create("
              "moe_expert_num=2, hidden_size=8, top_k=1, max_tokens_per_rank=1, dtype=ms.float32); print('a window')")
    mount = f"mount -t tmpfs -o {options} none /dev/shm && {command} || exit 77"
    result = subprocess.run(["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"]), "sh", "-c",
                             f'{mount}; exec "$0" -c "$1" 2>&1', sys.executable, script],
                            capture_output=True, text=True, check=False)
    if result.returncode == 77 or not result.stdout:
        pytest.skip(f"this process may mount nothing: {result.stderr.strip()}")
    return result.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize("options, command, texts", [
    ("size=1m", "true", ["a window"]),
    ("size=1m,nr_inodes=0", "true", ["a window"]),  # no limit on inodes
    ("size=4k", "true", ["MemoryError: no window: its 1 ranks need ", "but 4096 bytes are free"]),
    ("nr_inodes=1", "true", [
        "RuntimeError: no window: rank 0 cannot make a segment in /dev/shm, which has bytes but no inode left for "
        "another file. Remove files that nobody uses, or allow more of them (mount -o remount,nr_inodes=)."]),
    ("size=1m", "mount -o remount,ro /dev/shm", [
        "RuntimeError: no window: rank 0 cannot make a segment in /dev/shm: Read-only file system. It must be memory "
        "(a tmpfs), mounted so that it can be written, in which this user may make files."]),
], ids=["room", "inodes without limit", "too small", "no inode", "read-only"])
def test_shared_memory_as_it_may_be_mounted(options, command, texts):
    line = last_line_with_shared_memory(options, command)
    assert all(text in line for text in texts), line


def test_lack_of_inodes_is_told_on_all(address, monkeypatch):
    """The same without a mount, which a test may not be allowed: with the system's answers faked."""
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    real = os.statvfs("/dev/shm")
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*real[:5], 9, 0, 0, *real[8:])))
    monkeypatch.setattr(os, "open", fail)
    for error in allocate_on_all(address, 2):
        assert isinstance(error, RuntimeError) and "no inode left for another file" in str(error)


def test_shared_memory_that_is_not_there(address, monkeypatch):
    monkeypatch.setattr(shm, "_SHARED_MEMORY", "/no/such/folder")
    for error in allocate_on_all(address, 2):
        assert isinstance(error, RuntimeError) and "in /no/such/folder: No such file or directory." in str(error)
