"""Ranks as forks of this process, which has loaded MindSpore but not used it yet: a rank starts in milliseconds.

When a rank stops (a trap of `page_trap.cc` sends it SIGSTOP), it is continued or killed, as the caller wishes.
"""

import contextlib
import ctypes
import json
import os
import signal
import tempfile
import time
import traceback

PR_SET_PDEATHSIG = 1


class RanksFailed(AssertionError):
    """A rank ended with an error of its own, or did not end."""


class Forks:
    """`size` processes that each call `function(rank, *arguments)`, whose result must be JSON.

    Attributes:
        stopped (dict): rank -> time at which it was seen to have stopped (the monotonic clock of all processes).
    """

    def __init__(self, size, function, *arguments):
        self.stopped = {}
        self._results = [tempfile.TemporaryFile("w+") for _ in range(size)]
        self._pids = {}
        for rank in range(size):
            pid = os.fork()
            if pid == 0:
                self._be_rank(rank, function, arguments)
            self._pids[rank] = pid

    def kill(self, rank):
        os.kill(self._pids[rank], signal.SIGKILL)

    def wait(self, seconds, holds=None, killed=()):
        """Waits until all ranks have ended, for `seconds` at most.

        Args:
            holds (dict): rank -> seconds that it is held when it stops; None kills it there.
            killed (collection): ranks that may die.

        Returns:
            dict: rank -> its result; a killed rank has none.

        Raises:
            RanksFailed: a rank raised, hangs, or died though nobody killed it.
        """
        deadline = time.monotonic() + seconds
        holds = holds or {}
        killed = set(killed) | {rank for rank, hold in holds.items() if hold is None}
        release, codes = {}, {}
        try:
            while len(codes) < len(self._pids):
                for rank in set(self._pids) - set(codes):
                    pid, status = os.waitpid(self._pids[rank], os.WNOHANG | os.WUNTRACED)
                    if pid and os.WIFSTOPPED(status):
                        self.stopped[rank] = time.monotonic()
                        if holds.get(rank) is None:
                            self.kill(rank)
                        else:
                            release[rank] = time.monotonic() + holds[rank]
                    elif pid:
                        codes[rank] = os.waitstatus_to_exitcode(status)
                        if codes[rank] != 0 and rank not in killed:
                            raise RanksFailed(f"rank {rank} ended with {codes[rank]}:\n{self._result(rank)}")
                    if rank in release and time.monotonic() > release[rank]:
                        del release[rank]
                        os.kill(self._pids[rank], signal.SIGCONT)
                if time.monotonic() > deadline:
                    raise RanksFailed(f"ranks {sorted(set(self._pids) - set(codes))} still run after {seconds} s")
                time.sleep(0.002)
        finally:
            for rank in set(self._pids) - set(codes):
                with contextlib.suppress(ProcessLookupError):
                    self.kill(rank)
                os.waitpid(self._pids[rank], 0)
        return {rank: self._result(rank) for rank in self._pids if rank not in killed}

    def _be_rank(self, rank, function, arguments):
        """What a forked process runs; never returns."""
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # no rank, stopped or not, outlives its parent
        code = 1
        try:
            result = json.dumps(function(rank, *arguments))
            code = 0
        except BaseException:  # noqa: BLE001  # the parent gets it
            result = json.dumps(traceback.format_exc())
        self._results[rank].write(result)
        self._results[rank].flush()
        os._exit(code)

    def _result(self, rank):
        self._results[rank].seek(0)
        text = self._results[rank].read()
        self._results[rank].close()
        return json.loads(text) if text else None
