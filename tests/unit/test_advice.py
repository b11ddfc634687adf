"""Names in messages exist where the message says: exports of this package, its modules, functions of MindSpore."""
import ast
import functools
import importlib
import re
from pathlib import Path

import pytest

import ms_moe_comm

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"\b(?:mindspore|ms_moe_comm)(?:\.\w+)+|"
                  r"\b(?:MoE|Dense|Expert|Memory|Local|Solo|Device)[A-Z]\w+(?:\.\w+)*")
TEXT = r'"((?:[^"\\\n]|\\.)*)"'  # of C++
_OTHERS_NAMES = {"MoeDistributeDispatch"}


def python_texts(path):
    """The texts of a module except its docstrings; f-strings without their values."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value


def cpp_texts(path):
    code = re.sub(r"//.*|#include.*", "", path.read_text(encoding="utf-8"))
    return ("".join(re.findall(TEXT, texts[0])) for texts in re.findall(rf"((?:{TEXT}\s*)+)", code))


def names():
    files = [(path, python_texts) for path in (ROOT / "ms_moe_comm").rglob("*.py") if "_generated" not in path.parts]
    files += [(path, cpp_texts) for ending in ("cc", "h", "cpp") for path in (ROOT / "op_impl").rglob(f"*.{ending}")]
    found = {name for path, texts in files for text in texts(path) for name in NAME.findall(text)}
    return sorted(name for name in found - _OTHERS_NAMES if "._" not in name)  # a private name is code, not advice


def resolve(name):
    parts = name.split(".")
    if parts[0] not in ("mindspore", "ms_moe_comm"):
        assert parts[0] in ms_moe_comm.__all__, f"{parts[0]} is not exported"
        parts.insert(0, "ms_moe_comm")
    for length in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        return functools.reduce(getattr, parts[length:], module)
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("name", names())
def test_what_a_message_names_exists(name):
    resolve(name)


def test_the_search_finds_names_in_all_that_is_searched():
    assert {"SoloGroup", "ExpertWindow.create", "mindspore.communication.init"} <= set(names())  # of Python
    assert "mindspore.save_checkpoint" in names()  # of C++
