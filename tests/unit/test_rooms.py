"""The rooms of op_impl: their includes point one way."""
import re
from pathlib import Path

import pytest

OP_IMPL = Path(__file__).resolve().parents[2] / "op_impl"
# room -> the rooms of which it includes headers, beside itself. `tests` may include any.
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
    return re.findall(r'^#include "([^"]+)"', path.read_text(encoding="utf-8"), re.M)


def sources(room):
    return [path for path in sorted((OP_IMPL / room).rglob("*")) if path.suffix in (".h", ".cc", ".cpp")]


def test_every_source_lies_in_a_room():
    assert {path.parts[len(OP_IMPL.parts)] for path in OP_IMPL.rglob("*.*") if path.is_file()} == {
        *MAY_INCLUDE, "CMakeLists.txt"}


@pytest.mark.parametrize("room", MAY_INCLUDE)
def test_includes_point_one_way(room):
    for path in sources(room):
        for included in includes(path):
            if (OP_IMPL / included).is_file():
                assert included.split("/")[0] in (room, *MAY_INCLUDE[room]), f"{path} includes {included}"
            else:  # of another project, generated, or a neighbour's of the twin
                assert ".." not in included or room == "host_twin", f"{path} includes {included}"
