"""What windows leave in shared memory: names, which outlive processes, and mappings of this process."""

import glob
import time


def names():
    """The segments of this package that have a name, as they do only while a window is being created."""
    return set(glob.glob("/dev/shm/ms_moe_comm-*"))


def wait_until_only(expected, seconds=10):
    """The names beyond `expected`; waits up to `seconds` for them to go, since other processes create windows, too."""
    deadline = time.monotonic() + seconds
    while names() - expected and time.monotonic() < deadline:
        time.sleep(0.05)
    return sorted(names() - expected)


def mapped_segments():
    """Lines of this process's memory map that belong to windows."""
    with open("/proc/self/maps", encoding="ascii") as maps:
        return [line.strip() for line in maps if "/dev/shm/ms_moe_comm-" in line]
