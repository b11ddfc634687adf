"""Several ranks in one test: as threads, if no operator runs, or as processes."""
import glob
import json
import os
import subprocess
import sys
import threading
import time

SEGMENTS = "/dev/shm/ms_moe_comm-*"


def unique_address(name):
    """A LocalGroup's address that no other test and no other run uses."""
    return f"{name} {os.getpid()} {time.monotonic_ns()}"


def run_ranks(size, rank_program):
    """Runs rank_program(rank) in a thread per rank. Returns what each returned, or its exception."""
    results = [None] * size

    def run(rank):
        try:
            results[rank] = rank_program(rank)
        except Exception as error:  # noqa: BLE001  # the tests check it
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "a rank hangs"
    return results


def run_rank_processes(script, arguments_of_ranks, timeout=120):
    """Runs `python script ADDRESS RANK SIZE JSON` per rank. Returns the JSON value that each prints last."""
    address, size = unique_address(script), len(arguments_of_ranks)
    processes = [subprocess.Popen([sys.executable, script, address, str(rank), str(size), json.dumps(arguments)],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                 for rank, arguments in enumerate(arguments_of_ranks)]
    try:
        outputs = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    return [json.loads(text.strip().splitlines()[-1]) for text, _ in outputs]


def segments():
    """Names of this package's segments in shared memory."""
    return glob.glob(SEGMENTS)
