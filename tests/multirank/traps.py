"""Traps in peers' windows: they stop a rank (SIGSTOP) at an exact step of dispatch or combine, see page_trap.cc."""

import ctypes
import functools
import mmap
import os
import subprocess
import tempfile
from pathlib import Path

LINE_BYTES = 64

# step -> the part of the peers' windows that it touches first, and the operator
STEPS = {"before counts": ("counts", "dispatch"), "between counts and rows": ("rows", "dispatch"),
         "before arrival": ("arrived", "dispatch"), "before ready": ("ready", "combine"),
         "while reading": ("outputs", "combine")}


@functools.lru_cache(None)
def library():
    """Compiles and loads the trap, once: ranks that are forked later inherit it."""
    source = Path(__file__).with_name("page_trap.cc")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page_trap.so"
        subprocess.run([os.environ.get("CXX", "g++"), "-std=c++17", "-O1", "-Wall", "-shared", "-fPIC", "-o", path,
                        source], check=True)
        functions = ctypes.CDLL(str(path))
    functions.lay_trap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_bool]
    functions.lay_trap.restype = ctypes.c_bool
    return functions


class Traps:
    """Lays traps in the windows of the peers of this rank, as this process sees them.

    Args:
        window (ExpertWindow): its counts rows must fill pages, or counts and flags could not be told apart.
    """

    def __init__(self, window):
        self._window = window
        provider = window._provider
        self._peers = {rank: provider.peer_base(rank) for rank in range(window.ep_world_size)
                       if rank != window.ep_rank_id}
        self._layout = window._parameters.layout()

    def lay(self, step):
        """This rank stops at `step` of the operator that it calls next."""
        part, _ = STEPS[step]
        rank, size = self._window.ep_rank_id, self._window.ep_world_size
        rows = self._window.capacity * self._window.hidden_size * self._window.rows.itemsize
        row = self._layout["counts"].pitch
        assert part != "arrived" or (row >= mmap.PAGESIZE and rank + 1 < size), \
            "the last rank's counts row, or a short one, shares a page with the flags"
        pieces = {"counts": [((parity * size + rank) * row, row) for parity in (0, 1)], "rows": [(0, rows)],
                  "arrived": [(rank * LINE_BYTES, LINE_BYTES)], "ready": [(rank * LINE_BYTES, LINE_BYTES)],
                  "outputs": [(0, rows)]}[part]
        reads = part == "outputs"
        # reading: a trap in the next rank's window alone, so that a part of the sum is done
        peers = [(rank + 1) % size] if reads else self._peers
        for peer in peers:
            for offset, size_in_bytes in pieces:
                address = self._peers[peer] + self._layout[part].offset + offset
                assert library().lay_trap(address, size_in_bytes, reads), "mprotect or sigaction refused"
