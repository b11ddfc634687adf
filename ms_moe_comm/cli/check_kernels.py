"""Has compilers check the kernels and the Ascend part against CANN's headers, without an NPU and without linking.

It needs the source tree, and CANN's headers under ASCEND_HOME_PATH. It shows that CANN knows every name and type; it
does not show that the kernels do the right thing.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

_HOST_FLAGS = ["-std=c++17", "-fsyntax-only", "-w", "-D_GLIBCXX_USE_CXX11_ABI=0"]
# for the headers of CANN's own CPU target (tikicpulib, Ascend 910B), which any g++ parses
_KERNEL_FLAGS = ["-x", "c++", "-std=c++17", "-fsyntax-only", "-w", "-D_GLIBCXX_USE_CXX11_ABI=0",
                 "-D__CCE_AICORE__=220", "-D__DAV_C220__", "-D__CCE_KT_TEST__=1", "-DASCENDC_CPU_DEBUG=1",
                 "-include", "algorithm", "-include", "tikicpulib.h"]
# where versions of the toolkit have the headers; the first that exists is taken
_API_HEADERS = ("ascendc/include/basic_api/kernel_operator.h", "*-linux/ascendc/include/basic_api/kernel_operator.h",
                "compiler/tikcpp/tikcfw/kernel_operator.h", "tools/tikcpp/tikcfw/kernel_operator.h")
_CPU_HEADERS = ("tools/tikicpulib/lib/include/tikicpulib.h", "*-linux/tikicpulib/lib/include/tikicpulib.h")


def main(arguments: Sequence[str]) -> int:
    """Prints a line per file. Returns 0 if all pass or if there is no CANN, 1 if a file is refused or none is found."""
    parser = argparse.ArgumentParser(prog="python -m ms_moe_comm check-kernels", description=__doc__)
    parser.add_argument("--source", type=Path, default=Path(__file__).resolve().parents[2],
                        help="the source tree (default: the one this module lies in)")
    options = parser.parse_args(arguments)
    named = os.environ.get("ASCEND_HOME_PATH")
    if not named:
        print("check-kernels did nothing: ASCEND_HOME_PATH is not set, so there are no headers of CANN to check "
              "against")
        return 0
    home, sources = Path(named), options.source / "op_impl"
    compiler = os.environ.get("CXX", "g++")
    problem = _problem(home, sources, compiler)
    if problem:
        print(f"check-kernels did nothing: {problem}")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        generated = Path(folder)
        ascend = _ask_setup(options.source, generated)
        own = [f"-I{sources}", f"-I{generated}"]
        results = [_check(path, [compiler, *flags, *own]) for path, flags in _jobs(home, generated, *ascend)]
    print(f"{results.count(True)} of {len(results)} files pass")
    return int(not all(results))


def _problem(home: Path, sources: Path, compiler: str) -> str | None:
    if shutil.which(compiler) is None:
        return f"no C++ compiler '{compiler}'"
    if not (home / "include" / "acl" / "acl.h").is_file():
        return f"no include/acl/acl.h under ASCEND_HOME_PATH = {home}"
    if not sources.is_dir():
        return f"no sources in {sources}: run it in the source tree, or name the tree with --source"
    for what, headers in (("kernel API", _API_HEADERS), ("CPU library", _CPU_HEADERS)):
        if _folder(home, headers) is None:
            return f"no headers of CANN's {what} under {home} (looked for {', '.join(headers)})"
    return None


def _folder(home: Path, headers: Sequence[str]) -> Path | None:
    return next((path.parent for header in headers for path in sorted(home.glob(header))), None)


# imports the tree's setup.py as a module, in a process of its own
_ASK_SETUP = """
import json, pathlib, sys
import setuptools
setuptools.setup = lambda **_: None
sys.path.insert(0, sys.argv[1])
import mindspore, setup
setup.BuildLibrary.call([sys.executable, setup.YAML_FOLDER / "generate.py", sys.argv[2]])
flags = setup.mindspore_flags(pathlib.Path(mindspore.__file__).resolve().parent, "_ascend")
print(json.dumps([[*flags, *setup.cann_flags()], [str(path) for path in setup.mindspore_sources()[1]]]))
"""


def _ask_setup(tree: Path, folder: Path) -> tuple[list[str], list[Path]]:
    """Runs the build's own code, which writes what it generates from the operators' definitions into `folder`.

    Returns the compiler flags for the files of the Ascend part, and these files.
    """
    result = subprocess.run([sys.executable, "-c", _ASK_SETUP, tree, folder], check=True,
                            stdout=subprocess.PIPE, text=True)
    flags, files = json.loads(result.stdout.splitlines()[-1])
    return flags, [Path(file) for file in files]


def _jobs(home: Path, generated: Path, ascend_flags: list[str],
          ascend_sources: list[Path]) -> Iterator[tuple[Path, list[str]]]:
    """(file, compiler flags) of each check."""
    api, cpu = _folder(home, _API_HEADERS), _folder(home, _CPU_HEADERS)
    assert api and cpu  # otherwise a problem was reported
    parts = ["", "impl", "interface", "inner_interface", "../highlevel_api", "../highlevel_api/lib",
             "../highlevel_api/impl", "../highlevel_api/lib/matmul"]
    kernel = [*_KERNEL_FLAGS, f"-isystem{cpu}", *(f"-isystem{api / part}" for part in parts),
              f"-isystem{home / 'include'}"]
    yield from ((path, kernel) for path in sorted((generated / "kernels").glob("*.cpp")))
    yield from ((path, [*_HOST_FLAGS, *ascend_flags]) for path in ascend_sources)


def _check(path: Path, command: list[str]) -> bool:
    result = subprocess.run([*command, path], capture_output=True, text=True, check=False)
    print(f"{'pass' if result.returncode == 0 else 'FAIL':<5}{path.name}", flush=True)
    if result.returncode:
        print("\n".join(line for line in result.stderr.splitlines() if "error" in line), file=sys.stderr)
    return result.returncode == 0
