"""Checks whether this machine can run the package: versions, library, shared memory, CANN, a two-rank round trip."""
import argparse
import os
import platform
import secrets
import subprocess
import sys
from collections.abc import Sequence

from ms_moe_comm.requirements import check_packages, import_fitting, import_library

_ROUND_TRIP_RANKS = 2
_ROUND_TRIP_SECONDS = 180


def main(arguments: Sequence[str]) -> int:
    """Prints a line per check: OK or FAIL, and what was found. Returns 1 if any failed, else 0."""
    argparse.ArgumentParser(prog="python -m ms_moe_comm doctor", description=__doc__).parse_args(arguments)
    failed = False
    for name, check in (("python", _python), ("numpy", _numpy), ("mindspore", _mindspore), ("library", _library),
                        ("shared memory", _shared_memory), ("CANN", _cann), ("two-rank round trip", _round_trip)):
        try:
            verdict, found = "OK", check()
        except Exception as error:  # noqa: BLE001  # the user has to know of any error
            verdict, found, failed = "FAIL", f"{type(error).__name__}: {error}", True
        print(f"{verdict:<5}{name}: {found}", flush=True)
    return int(failed)


def _python() -> str:
    return f"{platform.python_version()} ({sys.executable})"


def _mindspore() -> str:
    return import_fitting("mindspore").__version__


def _numpy() -> str:
    return import_fitting("numpy").__version__


def _library() -> str:
    return f"{import_library().__file__} loads"


def _shared_memory() -> str:
    check_packages()
    from ms_moe_comm.providers.shm import free_shared_memory

    return f"{free_shared_memory() / 2**30:.1f} GiB free for windows"


def _cann() -> str:
    home = os.environ.get("ASCEND_HOME_PATH")
    if not home:
        return "not found (ASCEND_HOME_PATH is not set): windows and operators run on CPU"
    if not os.path.isdir(home):
        raise RuntimeError(f"ASCEND_HOME_PATH is {home}, which is no folder: source CANN's set_env.sh, or unset it")
    from ms_moe_comm.providers.choice import built_for_ascend

    if not built_for_ascend():
        return f"{home}, but the package was built without it: operators run on CPU until it is installed again"
    return f"{home}, and the package was built with it (tests/npu/validate.sh checks it on NPUs)"


def _round_trip() -> str:
    """Decode dispatch and combine between two processes."""
    address = f"doctor-{secrets.token_hex(8)}"
    ranks = [subprocess.Popen([sys.executable, "-m", "ms_moe_comm.cli.round_trip", address, str(rank),
                               str(_ROUND_TRIP_RANKS)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
             for rank in range(_ROUND_TRIP_RANKS)]
    try:
        outputs = [rank.communicate(timeout=_ROUND_TRIP_SECONDS) for rank in ranks]
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"no end within {_ROUND_TRIP_SECONDS} seconds") from error
    finally:
        for rank in ranks:
            rank.kill()
    for number, (rank, (_, errors)) in enumerate(zip(ranks, outputs, strict=True)):
        if rank.returncode:
            raise RuntimeError(f"rank {number} ended with {rank.returncode}: {errors.strip().splitlines()[-1:]}")
    return f"decode dispatch and combine exact, {outputs[0][0].strip()}"
