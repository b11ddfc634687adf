"""If a wrong version of a requirement is installed, the package's import says so, and `doctor` in the same words."""
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import ms_moe_comm
from ms_moe_comm import requirements

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "_lib" + sysconfig.get_config_var("EXT_SUFFIX")
REINSTALL = ("Install the package from its source tree (pip install --force-reinstall --no-deps PATH), and run Python "
             "outside of that tree.")


def python(folder, *arguments):
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False,
                          env=dict(os.environ, PYTHONPATH=str(folder)))


def stand_in(folder, package, text):
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text(text)


@pytest.fixture(name="folder")
def folder_with_the_package_but_no_library(tmp_path):
    shutil.copytree(Path(ms_moe_comm.__file__).parent, tmp_path / "ms_moe_comm",
                    ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return tmp_path


@pytest.mark.parametrize("package, text, sentence", [
    ("numpy", "__version__ = '2.1.0'", "numpy 2.1.0 does not fit ms_moe_comm: run: pip install 'numpy<2'"),
    ("mindspore", "__version__ = '2.9.0'",
     "mindspore 2.9.0 does not fit ms_moe_comm: run: pip install 'mindspore>=2.10,<2.11'"),
    ("mindspore", "import no_such_module",
     "mindspore cannot be imported (No module named 'no_such_module'), and ms_moe_comm needs it: run: pip install "
     "'mindspore>=2.10,<2.11'"),
    (None, None, f"/ms_moe_comm has no library of operators for Python 3.{sys.version_info.minor}: it is a source "
                 f"tree, or was built for another Python. {REINSTALL}"),
])
@pytest.mark.parametrize("statement", ["from ms_moe_comm import SoloGroup, ExpertWindow",
                                       "from ms_moe_comm.window import ExpertWindow", "import ms_moe_comm.ops"])
def test_import_says_what_to_do(folder, statement, package, text, sentence):
    if package:
        stand_in(folder, package, text)
    result = python(folder, "-c", statement)
    last = result.stderr.splitlines()[-1]
    assert last == f"ImportError: {'' if package else folder}{sentence}"


def test_a_library_that_does_not_load(folder):
    (folder / "ms_moe_comm" / LIBRARY).write_bytes(b"")
    last = python(folder, "-c", "from ms_moe_comm import ExpertWindow").stderr.splitlines()[-1]
    assert re.fullmatch(r"ImportError: the library of operators does not load \(.*file too short\): it was built for "
                        "another MindSpore. " + re.escape(REINSTALL), last)


def test_doctor_says_the_same(folder):
    stand_in(folder, "numpy", "__version__ = '2.1.0'")
    result = python(folder, "-m", "ms_moe_comm", "doctor")
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    sentence = "ImportError: numpy 2.1.0 does not fit ms_moe_comm: run: pip install 'numpy<2'"
    for check in ("numpy", "library", "shared memory"):
        assert f"FAIL {check}: {sentence}" in lines
    assert f"FAIL two-rank round trip: RuntimeError: rank 0 ended with 1: [\"{sentence}\"]" in lines
    assert lines[0].startswith("OK   python: 3.")


def test_pip_is_asked_for_the_same():
    project = (ROOT / "pyproject.toml").read_text()
    for line in ("requires", "dependencies"):
        listed = re.search(rf"^{line} = (\[.*\])$", project, re.MULTILINE)[1]
        for needed, _ in requirements._NEEDED.values():
            assert f'"{needed}"' in listed
