"""The rehearsal: every step of tests/npu on MindSpore's Ascend backend over the stand-in CANN. Prints a table.

    rehearse.py CANN PACKAGES [--only TEXT] [--modes MODE...] [--jobs N]      (bash tests/ascend_rehearsal.sh calls it)
"""

import argparse
import dataclasses
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LAUNCH = Path(__file__).resolve().parents[1] / "npu" / "launch.py"
MODES = ("synchronous", "late", "guarded")
THREADS = ("1", "4")  # with 1, the default on two cores, MindSpore runs graphs in another way
SECONDS = 300  # a job's limit on a busy machine
NOT_SHOWN = """\
This is the framework's real Ascend backend, our glue and our launcher, and the kernels as the host twin runs them. It
does not show: what CANN's compiler makes of the kernels; that a chip loads and launches them (the layout of a kernel's
arguments and the names in a binary are as CANN's documents say); caches, fences and pipes of the chip (bash
tests/simulate.sh has our model of them); real handles of memory, links and drivers, and what libshmem does with them;
bits of CANN's own operators (GroupedMatmul, softmax, top-k are plain loops here); jit level O1, whose fused kernels
MindSpore launches as device code; any speed. For those: bash tests/npu/validate.sh on a machine with NPUs."""


@dataclasses.dataclass(frozen=True)
class Row:
    title: str
    ranks: int
    step: str
    options: tuple = ()
    memory: str = "vmm"
    settings: tuple = ()  # the stand-in's settings, as pairs
    replays: bool = False  # replays of captured graphs must be seen
    refusal: str = ""  # what the ranks must end with

    def __str__(self):
        return f"{self.title}, {self.ranks} rank{'s' * (self.ranks > 1)}"


def table():
    """The rows to run, in the order in which a failure is easiest to understand."""
    rows = [Row("rows of all lengths, vmm", 2, "exchange"),
            Row("rows of all lengths, vmm, before CANN 8.5", 2, "exchange", settings=(("HANDLES", "processes"),)),
            Row("rows of all lengths, vmm, two servers of 910_93", 2, "exchange",
                settings=(("SERVERS", "2"), ("SOC", "Ascend910_9391"))),
            Row("two servers of 910B are refused", 2, "exchange", settings=(("SERVERS", "2"),),
                refusal="no window: device memory cannot be shared by any kind of handle"),
            Row("rows of all lengths, symm", 2, "exchange", memory="symm")]
    for ranks in (1, 2):
        rows += [Row("random routing, PyNative", ranks, "random_routing", ("--steps", "3"))]
        rows += [Row(f"random routing, O0, dispatch threads: {threads}", ranks, "random_routing",
                     ("--steps", "3", "--mode", "O0", "--dispatch-threads", threads)) for threads in THREADS]
        rows += [Row(f"captured and replayed, {phase}, {dtype}", ranks, "random_routing",
                     ("--steps", "6", "--mode", "capture", "--phases", phase, "--dtypes", dtype, *more), replays=True)
                 for phase, dtype, more in (("decode", "bfloat16", ()),  # a capture sets the number of threads itself
                                            ("prefill", "float32", ("--dispatch-threads", "4")))]
    for ranks in (1, 2):
        rows += [Row("MoELayer, PyNative", ranks, "moe_layer", ("--steps", "2"))]
        rows += [Row(f"MoELayer, O0, dispatch threads: {threads}", ranks, "moe_layer",
                     ("--steps", "2", "--mode", "O0", "--dispatch-threads", threads)) for threads in THREADS]
    rows += [Row("statistics, drops and moves read back", ranks, "read_back") for ranks in (1, 2)]
    return [*rows, Row("a killed rank", 2, "killed_rank")]


def environment(cann, packages, row, mode, log):
    added = {"ASCEND_HOME_PATH": str(cann), "STAND_IN_CANN_MODE": mode,
             **{f"STAND_IN_CANN_{name}": value for name, value in row.settings},
             "STAND_IN_CANN_LOG": str(log), "MS_MOE_COMM_WINDOW": row.memory, "GLOG_v": "4",
             "MS_NODE_TIMEOUT": str(SECONDS),  # for MindSpore's scheduler: a machine with few cores is slow
             "MS_SYMMETRIC_MEMORY_HEAP_SIZE": str(64 << 20), "PYTHONDONTWRITEBYTECODE": "1",
             "LD_LIBRARY_PATH": f"{cann / 'lib64'}:{cann / 'driver' / 'lib64'}",
             "LD_PRELOAD": " ".join(str(path) for path in sorted((cann / "preload").glob("*.so"))),
             "PYTHONPATH": f"{packages}:{cann / 'python'}"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MS_", "RANK_", "ASCEND_"))}
    return kept | added


def verdict(row, output, log):
    """(what the ranks reported, in a few words, ""), or (None, why it is wrong)."""
    lines = [line for line in output.splitlines() if line.startswith("rank ")]
    if {line.split()[1] for line in lines} != {str(rank) for rank in range(row.ranks - (row.step == "killed_rank"))}:
        return None, "not every rank said what it saw"
    if row.step == "killed_rank":
        return re.search(r"left after [\d.]+ s", lines[0])[0], ""
    if row.step == "moe_layer":
        return "error " + max(re.findall(r"largest error (\S+)", output), key=float), ""
    if row.step in ("exchange", "read_back"):
        return "0 bits", ""  # compared one by one
    captured, replayed = len(re.findall(r"captured \d+ tasks", log)), len(re.findall(r"replay of \d+ tasks", log))
    if row.replays and not (captured and replayed):
        return None, f"{captured} graphs captured, {replayed} replayed"
    differing = sum(map(int, re.findall(r"(\d+) elements not equal to the bit", output)))
    return f"{differing} bits" + (f", {replayed} replays" if row.replays else ""), ""


def run(cann, packages, row, mode):
    """Runs a row: (whether it is right, what the table shows, the whole output if it is wrong)."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        command = [sys.executable, str(LAUNCH), str(row.ranks), row.step, *row.options]
        with subprocess.Popen(command, env=environment(cann, packages, row, mode, log), cwd=folder, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True) as launch:
            try:
                output, _ = launch.communicate(timeout=SECONDS)
                code = launch.returncode
            except subprocess.TimeoutExpired:
                os.killpg(launch.pid, signal.SIGKILL)  # the launcher and its ranks
                output, code = launch.communicate()[0], f"none after {SECONDS} s"
        logged = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if row.refusal:
        said, why = ("refused", "") if row.refusal in output else (None, f"no {row.refusal!r}")
    else:
        said, why = (None, f"exit code {code}") if code != 0 else verdict(row, output, logged)
    seconds = f"{time.monotonic() - start:.0f} s"
    if said is None:
        return False, f"FAIL, {seconds}", f"--- {row}, {mode}: {why}\n{output[-20000:]}\n"
    return True, f"{said}, {seconds}", ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cann", type=Path)
    parser.add_argument("packages", type=Path, help="a folder with ms_moe_comm, built with that CANN")
    parser.add_argument("--only", default="", help="rows with this in their title")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1)), help="at the same time")
    options = parser.parse_args()
    rows = [row for row in table() if options.only in str(row)]
    start = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        cells = {(row, mode): pool.submit(run, options.cann, options.packages, row, mode)
                 for row in rows for mode in options.modes}
        width = max(len(str(row)) for row in rows)
        print(f"{'':{width}}  " + "  ".join(f"{mode:24}" for mode in options.modes), flush=True)
        for row in rows:
            print(f"{row!s:{width}}  " + "  ".join(f"{cells[row, mode].result()[1]:24}" for mode in options.modes),
                  flush=True)
    results = [cell.result() for cell in cells.values()]
    failed = sum(not right for right, _, _ in results)
    print(*(text for _, _, text in results if text), sep="\n")
    print(f"{len(results) - failed} right, {failed} failed, in {time.monotonic() - start:.0f} s\n\n{NOT_SHOWN}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
