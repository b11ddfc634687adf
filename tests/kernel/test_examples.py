"""The examples of README.md and samples/README.md run unchanged; each document has a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("document, printed", [
    ("README.md", "(100, 128) Float16 200 rows received"),
    ("samples/README.md", "0 bytes sent"),
], ids=["readme", "samples"])
def test_examples_run(document, printed, tmp_path):
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    script = tmp_path / "examples.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    assert printed in result.stdout
