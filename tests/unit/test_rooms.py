"""The rooms of op_impl and the modules of the package: includes and imports point one way."""
import ast
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OP_IMPL = ROOT / "op_impl"
# room -> the rooms whose headers it may include, beside its own. `tests` may include any.
MAY_INCLUDE = {
    "contract": (),
    "kernel": ("contract",),
    "host_twin": (),
    "host": ("contract", "host_twin"),
    "checks": ("contract", "host"),
    "operators": ("contract", "kernel", "host_twin", "host", "checks"),
    "mindspore": ("host", "operators"),
    "ascend": ("host", "mindspore"),
}


def includes(path):
    return re.findall(r'^#include "([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE)


def sources(room):
    return [path for path in sorted((OP_IMPL / room).rglob("*")) if path.suffix in (".h", ".cc", ".cpp")]


def test_every_source_lies_in_a_room():
    assert {path.parts[len(OP_IMPL.parts)] for path in OP_IMPL.rglob("*.*") if path.is_file()} == {
        *MAY_INCLUDE, "CMakeLists.txt", "README.md"}


@pytest.mark.parametrize("room", MAY_INCLUDE)
def test_includes_point_one_way(room):
    for path in sources(room):
        for included in includes(path):
            if (OP_IMPL / included).is_file():
                assert included.split("/")[0] in (room, *MAY_INCLUDE[room]), f"{path} includes {included}"
            else:  # another project's header, a generated one, or a neighbour within the twin
                assert ".." not in included or room == "host_twin", f"{path} includes {included}"


def imported_modules(path, modules):
    """The members of `modules` that the source imports anywhere, also in functions."""
    package = ".".join(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            parent = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(filter(None, (parent, node.module)))
            names = {f"{source}.{alias.name}" for alias in node.names} & modules
            yield from names or {source} & modules


def test_imports_point_one_way():
    paths = {".".join(path.relative_to(ROOT).with_suffix("").parts): path
             for path in (ROOT / "ms_moe_comm").rglob("*.py")}
    graph = {name: set(imported_modules(path, paths.keys())) for name, path in paths.items()}
    assert "ms_moe_comm.providers.contract" in graph["ms_moe_comm.providers.shm"]  # imports are seen
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the modules


def test_providers_know_nothing_of_windows():
    for path in (ROOT / "ms_moe_comm" / "providers").glob("*.py"):
        known = set(re.findall(r"from (ms_moe_comm\.\S+) import", path.read_text(encoding="utf-8")))
        assert known <= {"ms_moe_comm.group", *(f"ms_moe_comm.providers.{name}" for name in ("contract", "npu"))}, path


def test_the_design_document_has_the_same_rooms():
    text = (OP_IMPL / "README.md").read_text(encoding="utf-8").split("\n## The rooms\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\w, ]*)\|$", text, re.MULTILINE)
    assert {room: tuple(rooms.replace(",", "").split()) for room, rooms in rows} == MAY_INCLUDE
