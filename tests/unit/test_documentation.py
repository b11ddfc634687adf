"""The documents of the operators speak of what their definitions say, and arrive in Python."""

import inspect
from pathlib import Path

import pytest
import yaml

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
