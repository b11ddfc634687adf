"""The operators' documents match their definitions, and arrive in Python and in the reference."""

import ast
import inspect
import re
import runpy
from pathlib import Path

import pytest
import yaml

from ms_moe_comm import ops
from ms_moe_comm._generated import gen_ops_def

FOLDER = Path(__file__).resolve().parents[2] / "ops_yaml"
DEFINITIONS = {name: definition for path in sorted(FOLDER.glob("moe_*.yaml"))
               for name, definition in yaml.safe_load(path.read_text()).items()}


@pytest.mark.parametrize("op", DEFINITIONS)
def test_every_argument_and_result_is_documented(op):
    document = yaml.safe_load((FOLDER / "doc" / f"{op}_doc.yaml").read_text())[op]["description"]
    arguments = document.split("Args:")[1].split("Returns:")[0]
    for name, argument in DEFINITIONS[op]["args"].items():
        assert f"{name} (" in arguments, name
        described = arguments.split(f"{name} (")[1].split("\n        " + "x")[0]
        if "default" in argument:
            assert f"Default: ``{argument['default']}``" in described, name
    for name in DEFINITIONS[op]["returns"]:
        assert f"**{name}**" in document.split("Returns:")[1], name


@pytest.mark.parametrize("op", DEFINITIONS)
def test_python_functions_are_as_defined(op):
    function = getattr(gen_ops_def, op)
    parameters = inspect.signature(function).parameters
    assert list(parameters) == list(DEFINITIONS[op]["args"])
    for name, argument in DEFINITIONS[op]["args"].items():
        default = {"None": None}.get(argument.get("default", inspect.Parameter.empty),
                                     argument.get("default", inspect.Parameter.empty))
        assert parameters[name].default == default
    assert "Raises:" in function.__doc__


REFERENCE = (FOLDER / "README.md").read_text(encoding="utf-8")
CALLS = {name: text for text, name in re.findall(r"```python\n((\w+)\(.*?)```", REFERENCE, re.DOTALL)}


def arguments_of(call):
    """{name: default} of a call as the reference writes it; `empty` where there is no default."""
    arguments = ast.parse(f"def {call.strip()}: pass").body[0].args
    required = [inspect.Parameter.empty] * (len(arguments.args) - len(arguments.defaults))
    defaults = required + [ast.literal_eval(default) for default in arguments.defaults]
    return {argument.arg: default for argument, default in zip(arguments.args, defaults, strict=True)}


def defaults_of(function):
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


def test_reference_is_what_its_script_writes():
    assert runpy.run_path(str(FOLDER / "write_reference.py"))["reference"]() == REFERENCE, (
        "run: python ops_yaml/write_reference.py")


def test_reference_has_every_operator():
    assert list(CALLS) == list(DEFINITIONS)


@pytest.mark.parametrize("op", DEFINITIONS)
def test_reference_calls_the_operator_as_python_does(op):
    """The page has the arguments, order and defaults of the generated function, which the package exports."""
    documented = arguments_of(CALLS[op])
    assert list(documented.items()) == list(defaults_of(getattr(gen_ops_def, op)).items())
    section = REFERENCE.split(f"\n## {op}\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \| (?:Tensor|int) ", section, re.MULTILINE) == list(documented)
    if not hasattr(gen_ops_def, f"{op}_out") and not op.endswith("_out"):
        assert getattr(ops, op) is getattr(gen_ops_def, op)


@pytest.mark.parametrize("op", [op for op in DEFINITIONS if f"{op}_out" in DEFINITIONS])
def test_one_function_stands_for_a_primitive_and_its_form_with_out(op):
    """The package's function has the arguments of both; `out`, and an argument that only one has, may be left out."""
    new, into = arguments_of(CALLS[op]), arguments_of(CALLS[f"{op}_out"])
    function = defaults_of(getattr(ops, op))
    assert set(function) == set(new) | set(into)
    for name, default in function.items():
        if name in ("out", "output_dtype"):
            assert default is None  # a new tensor; a MindSpore dtype, for which YAML has a number
        else:
            assert default == new[name] == into[name]
