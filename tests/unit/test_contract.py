"""Code generated from ops_yaml: no list of arguments can be in another order, lack one, or have one too many."""

import ast
import inspect
import runpy
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest
import yaml

from ms_moe_comm import MoEDispatcher

ROOT = Path(__file__).resolve().parents[2]
DEFINITIONS = {name: definition for path in (ROOT / "ops_yaml").glob("moe_*.yaml")
               for name, definition in yaml.safe_load(path.read_text()).items()}
GENERATOR = runpy.run_path(str(ROOT / "ops_yaml" / "generate.py"))
FAMILY = GENERATOR["read_kernels"](DEFINITIONS)[0]["dispatch"]
# what both dispatch kernels get; each value has a type named after its argument
SHARED = ", ".join(f"{GENERATOR['camel_case'](name)}({'x' if FAMILY.is_address(name) else 1})" for name in FAMILY.own)


@pytest.fixture(name="generated", scope="module")
def generated_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated")
    GENERATOR["generate"](folder)
    return folder


def compiles(folder, generated, arguments):
    """Whether these arguments of both dispatch kernels compile."""
    source = folder / "call.cc"
    source.write_text(textwrap.dedent(f"""
        #include "kernel_entries.h"
        moe_comm::DispatchArguments Try(uint8_t *x) {{
          using namespace moe_comm::named;
          return moe_comm::DispatchWith({arguments});
        }}"""))
    result = subprocess.run(["g++", "-std=c++17", "-fsyntax-only", f"-I{ROOT / 'op_impl'}", f"-I{generated}", source],
                            capture_output=True, text=True, check=False)
    return result.returncode == 0


@pytest.mark.parametrize("wrong, right", [
    ("", ""),
    ("TopK(1), TokenNum(1)", "TokenNum(1), TopK(1)"),                              # swapped scalars
    ("Scales(x), XActiveMask(x)", "XActiveMask(x), Scales(x)"),                    # swapped addresses
    ("TokenNum(1), IdBytes(1)", "TokenNum(1), TopK(1), IdBytes(1)"),               # a missing one
    ("TokenNum(1), TopK(1), TopK(1), IdBytes(1)", "TokenNum(1), TopK(1), IdBytes(1)"),  # one too many
    ("TokenNum(1), 1, IdBytes(1)", "TokenNum(1), TopK(1), IdBytes(1)"),            # without its name
], ids=["right", "swapped scalars", "swapped addresses", "missing", "extra", "nameless"])
def test_only_the_right_arguments_compile(tmp_path, generated, wrong, right):
    assert right in SHARED
    assert compiles(tmp_path, generated, SHARED.replace(right, wrong) if right else SHARED) == (not right)


def mistake(tmp_path, file, old, new):
    """What the generator says if `new` replaces `old` in `file` of ops_yaml."""
    copy = tmp_path / "ops_yaml"
    shutil.copytree(ROOT / "ops_yaml", copy)
    text = (copy / file).read_text()
    assert text.count(old) == 1
    (copy / file).write_text(text.replace(old, new))
    generator = runpy.run_path(str(copy / "generate.py"))
    with pytest.raises(generator["Mistake"]) as caught:
        generator["generate"](tmp_path / "generated")
    return str(caught.value)


def test_operators_of_a_family_share_their_arguments(tmp_path):
    text = mistake(tmp_path, "moe_decode_dispatch.yaml", "    quant_mode:\n      dtype: int\n      default: 0\n",
                   "    quant_mode:\n      dtype: int\n      default: 2\n")
    assert "'quant_mode' differs between moe_decode_dispatch and moe_prefill_dispatch" in text


def test_an_argument_of_one_alone_comes_last(tmp_path):
    text = mistake(tmp_path, "moe_decode_dispatch.yaml", "    replica_policy:\n",
                   "    own:\n      dtype: int\n      default: 0\n    replica_policy:\n")
    assert "'own' differs between moe_decode_dispatch and moe_prefill_dispatch" in text


@pytest.mark.parametrize("old, new", [("    kept_plan: argument", "    kept_plans: argument"),
                                      ("[expert_ids, 1]", "[expert_id, 1]"), ("x: argument", "x: result")])
def test_a_source_that_is_not_there_is_named(tmp_path, old, new):
    name = new.split(":", maxsplit=1)[0].strip() if ":" in new else "top_k"
    text = mistake(tmp_path, "kernel/dispatch.yaml", f"\n    {old.strip()}" if old.startswith("x") else old,
                   f"\n    {new.strip()}" if old.startswith("x") else new)
    assert f"'{name}' of" in text and "does not have" in text


@pytest.mark.parametrize("op", [op for op in DEFINITIONS if op.endswith(("dispatch", "combine"))])
def test_the_dispatcher_passes_every_argument(op):
    """An argument that the function left out would always keep its default."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(MoEDispatcher)))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == op]
    assert [len(call.args) + len(call.keywords) for call in calls] == [len(DEFINITIONS[op]["args"])]
