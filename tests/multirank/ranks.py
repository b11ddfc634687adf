"""Runs a function of a test module on several processes, one per rank, without a launcher that would end them all."""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent


class RankFailed(AssertionError):
    """A rank ended with an error, or did not end."""


class Ranks:
    """`size` processes that each call `module.function(group, **arguments)`.

    `arguments` must be JSON. What a rank prints is in `output(rank)` once it has ended.
    """

    def __init__(self, size, module, function, **arguments):
        self.size = size
        self._logs = [tempfile.TemporaryFile("w+") for _ in range(size)]
        environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", GLOG_v="3",
                           PYTHONPATH=os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
        address = uuid.uuid4().hex
        self.processes = [
            subprocess.Popen([sys.executable, __file__, module, function, address, str(rank), str(size),
                              json.dumps(arguments)], stdout=log, stderr=subprocess.STDOUT, env=environment)
            for rank, log in enumerate(self._logs)]

    def output(self, rank):
        self._logs[rank].seek(0)
        return self._logs[rank].read()

    def wait(self, seconds, expected_to_die=()):
        """Waits for all ranks; raises if one fails or still runs after `seconds`."""
        deadline = time.monotonic() + seconds
        try:
            for process in self.processes:
                process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            late = [rank for rank, process in enumerate(self.processes) if process.poll() is None]
            raise RankFailed(f"ranks {late} still run after {seconds} s:\n{self._all_output()}") from None
        finally:
            for process in self.processes:
                process.kill()
                process.wait()
        failed = [rank for rank, process in enumerate(self.processes)
                  if process.returncode != 0 and rank not in expected_to_die]
        if failed:
            raise RankFailed(f"ranks {failed} failed:\n{self._all_output()}")
        return [self.output(rank) for rank in range(self.size)]

    def _all_output(self):
        return "\n".join(f"--- rank {rank}\n{self.output(rank)[-4000:]}" for rank in range(self.size))


def run_ranks(size, module, function, seconds=300, **arguments):
    """Runs `module.function` on `size` ranks to its end; returns what each printed."""
    return Ranks(size, module, function, **arguments).wait(seconds)


def main():
    module, function, address, rank, size, arguments = sys.argv[1:]
    from ms_moe_comm.group import LocalGroup

    with LocalGroup(address, int(rank), int(size)) as group:
        getattr(importlib.import_module(module), function)(group, **json.loads(arguments))


if __name__ == "__main__":
    main()
