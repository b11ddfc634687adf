"""What type checkers read is true: stubs, exports, annotations."""
import ast
import importlib
import inspect
import re
from pathlib import Path

import yaml

import ms_moe_comm
from ms_moe_comm import _lib

ROOT = Path(__file__).resolve().parents[2]
OPERATORS = {name for path in (ROOT / "ops_yaml").glob("moe_*.yaml") for name in yaml.safe_load(path.read_text())}


def stub_functions(path):
    """{name: names of the arguments}."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: [argument.arg for argument in node.args.args] for node in tree.body
            if isinstance(node, ast.FunctionDef)}


def bound_functions(module):
    """{name: number of arguments}, as pybind11 documents them."""
    functions = {name: value for name, value in vars(module).items() if inspect.isbuiltin(value)}
    return {name: len(re.findall(r"\barg\d+:", function.__doc__)) for name, function in functions.items()}


def test_stub_of_the_library_is_as_bound():
    stub = stub_functions(ROOT / "ms_moe_comm" / "_lib.pyi")
    bound = {name: count for name, count in bound_functions(_lib).items() if name not in OPERATORS}
    assert {name: len(arguments) for name, arguments in stub.items()} == bound


def test_stub_of_the_ascend_part_is_as_bound():
    """Checks names only, since this machine may not be able to load the module."""
    source = (ROOT / "op_impl" / "ascend" / "register_ascend.cc").read_text(encoding="utf-8")
    assert set(stub_functions(ROOT / "ms_moe_comm" / "_ascend.pyi")) == set(re.findall(r'm\.def\("(\w+)"', source))


def test_stub_of_the_operators_is_as_generated():
    module = importlib.import_module("ms_moe_comm._generated.gen_ops_def")
    stub = stub_functions(Path(module.__file__).with_suffix(".pyi"))
    assert set(stub) == OPERATORS
    for name, arguments in stub.items():
        assert arguments == list(inspect.signature(getattr(module, name)).parameters)


def test_type_checkers_see_the_exports():
    tree = ast.parse((ROOT / "ms_moe_comm" / "__init__.py").read_text(encoding="utf-8"))
    seen = {alias.asname: node.module.rpartition(".")[2] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
            for alias in node.names if alias.asname}
    assert seen == ms_moe_comm._EXPORTS


def test_types_are_installed():
    for file in ("py.typed", "_lib.pyi", "_ascend.pyi", "_generated/gen_ops_def.pyi"):
        assert (Path(ms_moe_comm.__file__).parent / file).is_file(), file
