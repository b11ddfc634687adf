"""The source distribution is complete, and a read-only source tree can be installed: both in one build."""
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_IGNORED = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "*.so", "_generated")


def run(*command, folder, **environment):
    """The output of the command, which runs without the module paths that these tests may have."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False,
                            env=dict(variables, PIP_DISABLE_PIP_VERSION_CHECK="1", **environment))
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def files_below(folder):
    return {path.relative_to(folder) for path in folder.rglob("*")}


@pytest.fixture(name="source")
def unpacked_source_distribution(tmp_path):
    """The folder to which a source distribution of this tree unpacks."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, ignore=_IGNORED)  # a listing of an earlier build would hide what is missing
    run(sys.executable, "-c", "from setuptools import build_meta; build_meta.build_sdist('dist')", folder=tree)
    [archive] = (tree / "dist").iterdir()
    with tarfile.open(archive) as files:
        files.extractall(tmp_path)
    return tmp_path / archive.name.removesuffix(".tar.gz")


def test_source_distribution_has_all_that_the_build_reads(source):
    for folder in ("op_impl", "ops_yaml", "ms_moe_comm"):
        expected = {path for path in files_below(ROOT / folder)
                    if not {"__pycache__", "_generated"} & set(path.parts) and path.suffix != ".so"}
        assert files_below(source / folder) == expected
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE"} <= set(os.listdir(source))
    for folder in ("samples", "tests"):  # only their documents are in the distribution
        documents = {path for path in files_below(ROOT / folder) if path.suffix == ".md"}
        assert documents and {path for path in files_below(source / folder) if path.suffix} == documents


def test_read_only_source_tree_installs(source, tmp_path):
    shutil.rmtree(next(source.glob("*.egg-info")))  # a checkout has none
    for path in (source, *source.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    unprivileged = ()
    if os.getuid() == 0:  # permissions do not bind root unless it drops its capabilities
        if shutil.which("setpriv") is None:
            pytest.skip("root can write everywhere, and there is no setpriv to take that away")
        unprivileged = ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override")
        probe = subprocess.run([*unprivileged, "touch", source / "probe"], capture_output=True, text=True,
                               check=False)
        if "Permission denied" not in probe.stderr:
            pytest.skip(f"root can write everywhere, and cannot give that up: {probe.stderr.strip()}")
    before = files_below(source)
    wheels, venv = tmp_path / "wheels", tmp_path / "venv"
    run(*unprivileged, sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w",
        wheels, source, folder=tmp_path)
    assert files_below(source) == before
    run(sys.executable, "-m", "venv", venv, folder=tmp_path)
    python = venv / "bin" / "python"
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", *wheels.iterdir(), folder=tmp_path)
    # MindSpore is the one of the tests
    site = next((venv / "lib").glob("python*")) / "site-packages"
    (site / "tests.pth").write_text(f"{Path(pytest.__file__).resolve().parents[1]}\n")
    found = run(python, "-c", "import ms_moe_comm as m; m.ExpertWindow; m.moe_grouped_matmul; print(m.__file__)",
                folder=tmp_path)
    assert found.strip() == str(site / "ms_moe_comm" / "__init__.py")
