"""Windows on MindSpore communication groups under its own launcher."""
import os
import socket
import subprocess
import sys
from pathlib import Path

RANKS = 4


def test_world_and_subgroup_in_both_modes(tmp_path):
    python = Path(sys.executable)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"  # msrun starts the python of PATH
    launched = subprocess.run(
        [str(python.parent / "msrun"), f"--worker_num={RANKS}", f"--local_worker_num={RANKS}", f"--master_port={port}",
         f"--log_dir={tmp_path}", "--join=True", str(Path(__file__).with_name("msrun_window.py"))],
        env=dict(os.environ, PATH=path), capture_output=True, text=True, timeout=300, check=False)
    output = "\n".join(log.read_text() for log in sorted(tmp_path.glob("worker_*.log")))
    assert launched.returncode == 0, launched.stdout[-2000:] + launched.stderr[-2000:] + output[-4000:]
    for rank in range(RANKS):
        for mode in (0, 1):
            assert f"rank {rank} of {RANKS} mode {mode} right" in output
