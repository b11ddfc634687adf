"""If the package cannot be built in an environment, setup.py says in one line what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("package, version, environment, line", [
    (None, None, {"CXX": "no-such-compiler"},
     "no C++ compiler 'no-such-compiler'; install one (Debian: apt-get install g++) or set CXX."),
    ("numpy", "2.1.0", {}, "numpy 2.1.0 does not fit ms_moe_comm: run: pip install 'numpy<2'"),
    ("mindspore", "2.9.0", {}, "mindspore 2.9.0 does not fit ms_moe_comm: run: pip install "
                               "'mindspore>=2.10,<2.11'"),
])
def test_one_line_says_what_to_do(tmp_path, package, version, environment, line):
    if package:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(f"__version__ = {version!r}\n")
    result = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--build-temp", tmp_path / "temp", "--build-lib",
         tmp_path / "lib"], cwd=ROOT, capture_output=True, text=True, check=False,
        env=dict(os.environ, PYTHONPATH=str(tmp_path), **environment))
    assert result.returncode != 0
    assert result.stderr.splitlines()[-1] == f"ms_moe_comm: {line}"
