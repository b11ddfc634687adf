"""Starts the ranks of one step of steps.py on this server's NPUs. Unlike msrun it ends no rank when another one ends.

    python launch.py RANKS STEP [options of steps.py]

For ranks on several servers, start steps.py with msrun on each.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS = Path(__file__).with_name("steps.py")


def run(ranks, step, *options, seconds=1800, expected_to_die=()):
    """Returns what each rank printed. Raises AssertionError with the output of all if one fails or stays."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = dict(os.environ, MS_WORKER_NUM=str(ranks), MS_SCHED_HOST="127.0.0.1", MS_SCHED_PORT=str(port),
                  RANK_SIZE=str(ranks))
    command = [sys.executable, str(STEPS), step, *options]
    with tempfile.TemporaryDirectory() as folder:
        logs = [open(Path(folder, f"{name}.log"), "w+", encoding="utf-8")  # closed with the processes below
                for name in ("scheduler", *range(ranks))]
        scheduler = subprocess.Popen(command, stdout=logs[0], stderr=subprocess.STDOUT,
                                     env=dict(common, MS_ROLE="MS_SCHED", MS_MOE_COMM_TEST_DEVICE="0"))
        workers = [subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT,
                                    env=dict(common, MS_ROLE="MS_WORKER", MS_NODE_ID=str(rank), RANK_ID=str(rank),
                                             MS_MOE_COMM_TEST_DEVICE=str(rank)))
                   for rank, log in enumerate(logs[1:])]
        deadline = time.monotonic() + seconds
        try:
            for worker in workers:
                worker.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass  # reported below: the exit code is missing
        codes = [worker.poll() for worker in workers]
        outputs = []
        for process, log in zip([scheduler, *workers], logs, strict=True):
            process.kill()
            process.wait()
            log.seek(0)
            outputs.append(log.read())
            log.close()
    everything = "\n".join(f"--- {'scheduler' if i == 0 else f'rank {i - 1}'}\n{text[-4000:]}"
                           for i, text in enumerate(outputs))
    for rank, code in enumerate(codes):
        if rank not in expected_to_die:
            assert code == 0, f"rank {rank} {'still runs' if code is None else f'ended with {code}'}\n{everything}"
    return outputs[1:]


def main():
    ranks, step, *options = sys.argv[1:]
    dead = [int(ranks) - 1] if step == "killed_rank" else []
    for output in run(int(ranks), step, *options, expected_to_die=dead):
        print(*(line for line in output.splitlines() if line.startswith("rank ")), sep="\n")


if __name__ == "__main__":
    main()
