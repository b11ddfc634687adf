"""Processes that run cases, one per rank, kept from case to case."""

import multiprocessing
import os
import traceback
import uuid


def _serve(rank, connection):
    os.environ.setdefault("GLOG_v", "3")  # MindSpore's errors, not its warnings
    import mindspore as ms
    import numpy as np

    from ms_moe_comm.group import LocalGroup
    from properties import check

    ms.set_device("CPU")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    np.seterr(invalid="ignore", over="ignore")  # rows with NaN and infinity are among the cases
    while True:
        work = connection.recv()
        if work is None:
            return
        address, case = work
        try:
            group = LocalGroup(address, rank, case["world_size"])
            try:
                check.run(case, group)
            finally:
                group.close()
            connection.send(None)
        except Exception:  # noqa: BLE001  # the text goes to the test, which fails with it
            connection.send(traceback.format_exc())


class Pool:
    """`size` ranks. `run` gives a case to as many of them as it needs."""

    def __init__(self, size):
        context = multiprocessing.get_context("spawn")
        self._ranks = []
        for rank in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, theirs), daemon=True)
            process.start()
            self._ranks.append((process, ours))

    def run(self, case, seconds=120):
        """Raises AssertionError with the error of every rank that had one."""
        address = uuid.uuid4().hex
        ranks = self._ranks[:case["world_size"]]
        for _, connection in ranks:
            connection.send((address, case))
        errors = []
        for rank, (_, connection) in enumerate(ranks):
            error = connection.recv() if connection.poll(seconds) else f"no answer within {seconds} s"
            if error is not None:
                errors.append(f"rank {rank}: {error}")
        if errors:
            raise AssertionError("\n".join(errors))

    def close(self):
        for process, connection in self._ranks:
            connection.send(None)
            process.join(10)
            if process.is_alive():
                process.kill()
