"""Writes README.md beside it: the operators' reference, from their definitions and documents in this folder.

    python ops_yaml/write_reference.py

Needs PyYAML only. tests/unit/test_documentation.py checks that the page is up to date.
"""
import re
import textwrap
from pathlib import Path

import yaml

FOLDER = Path(__file__).resolve().parent

HEAD = """# The operators

Generated from the YAML files of this folder. To change this page, change those, and run

    python ops_yaml/write_reference.py

`<operator>.yaml` defines a primitive: its arguments in order, their defaults, and which result lies in the memory of
which argument. `doc/<operator>_doc.yaml` says what they mean, and becomes the docstring in Python. `kernel/*.yaml` says
which values the operators' kernels get. When the package is built, MindSpore's generator makes the primitives from the
first two, and `ops_yaml/generate.py` writes the C++: signatures, the kernels' entries and their arguments.

Most models use `ExpertWindow`, `MoEDispatcher` and `MoELayer`, which call these operators. The operators take tensors
and ints; None stands for an optional tensor that is not given. [ms_moe_comm/ERRORS.md](../ms_moe_comm/ERRORS.md) has
the text of every error, and what to do.

T is the number of tokens of this rank, K of experts per token, H the hidden size, A the number of rows of a rank's
window, R of ranks, E of routed (physical) experts in the group, L of logical experts, S of shared experts on ranks of
their own, and Q of those ranks. For a matmul M is the number of rows, K and N are the sizes of a matrix.

In Python, `moe_grouped_matmul` and `moe_grouped_matmul_quant` call two primitives each: with `out` the one whose name
ends in `_out`, without it the other. There `output_dtype` is a MindSpore dtype, bfloat16 if None.
"""


def read_operators():
    """[(name, definition, document)] of all operators, in alphabetical order."""
    operators = []
    for path in sorted(FOLDER.glob("moe_*.yaml")):
        for name, definition in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            document = yaml.safe_load((FOLDER / "doc" / f"{name}_doc.yaml").read_text(encoding="utf-8"))
            operators.append((name, definition, document[name]["description"]))
    return operators


def markdown(text):
    """A document's text, with code marked as in Markdown."""
    return re.sub(r":func:`(\w+)`", r"`\1`", text.replace("``", "`")).strip()


def cell(text):
    """`text` for one cell of a table; a plain default moves to a column of its own."""
    text = re.sub(r"Default: ``[^`]*``\s*\.", "", re.sub(r"Default: (``[^`]*``)\s*,", r"\1:", text))
    return " ".join(markdown(text).replace("|", "\\|").split())


def sections(document):
    """{heading: text} of a document; the text before the first heading is under ''."""
    parts = re.split(r"^(Args|Returns|Raises|Supported Platforms):\n", document, flags=re.M)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entries(section):
    """(name, kind, text) of each 'x (Tensor, optional): ...' or 'ValueError: ...', with the lines that continue it."""
    found = re.findall(r"^    (\w+)(?: \(([^)]*)\))?: (.*(?:\n(?:     .*)?)*)", section, flags=re.M)
    return [(name, kind, " ".join(text.split())) for name, kind, text in found]


def results(section):
    """{name: text} of the results."""
    return {name: " ".join(text.split())
            for name, text in re.findall(r"\*\*(\w+)\*\* - (.*(?:\n(?!\s*- \*\*).*)*)", section)}


def signature(name, definition):
    """A call as Python writes it, in lines of at most 120 columns."""
    arguments = [argument + (f"={its['default']}" if "default" in its else "")
                 for argument, its in definition["args"].items()]
    lines, pad = [f"{name}("], " " * (len(name) + 1)
    for number, argument in enumerate(arguments):
        word = argument + (", " if number + 1 < len(arguments) else ")")
        if len(lines[-1] + word.rstrip()) > 120:
            lines.append(pad)
        lines[-1] += word
    return "\n".join(line.rstrip() for line in lines)


def operator_page(name, definition, document):
    """The part of the page about one operator."""
    part = sections(document)
    lines = [f"## {name}", "", markdown(part[""]), "", "```python", signature(name, definition), "```", "",
             "| argument | type | default | |", "|---|---|---|---|"]
    for argument, kind, text in entries(part["Args"]):
        default = definition["args"][argument].get("default")
        shown = "" if default is None else f"`{default}`"
        lines.append(f"| `{argument}` | {kind.removesuffix(', optional')} | {shown} | {cell(text)} |")
    lines += ["", "| result | in the memory of | |", "|---|---|---|"]
    texts = results(part["Returns"])
    for result, its in definition["returns"].items():
        place = f"`{its['inplace']}`" if "inplace" in its else ""
        lines.append(f"| `{result}` | {place} | {cell(texts[result])} |")
    lines.append("")
    lines += [textwrap.fill(f"* **{error}** {text[:1].lower()}{text[1:]}", 120, subsequent_indent="  ")
              for error, _, text in entries(part["Raises"])]
    lines += ["", f"Runs on: {cell(part['Supported Platforms'])}. Nothing has run on an NPU."]
    return "\n".join(lines)


def summary(operators):
    """The table of all operators."""
    lines = ["| operator | |", "|---|---|"]
    for name, _, document in operators:
        first = re.split(r"(?<=\.)\s+(?=[A-Z])", " ".join(document.split("\n\n")[0].split()))[0]
        lines.append(f"| [`{name}`](#{name}) | {cell(first)} |")
    return "\n".join(lines)


def reference():
    """The whole page."""
    operators = read_operators()
    return "\n\n".join([HEAD.rstrip(), summary(operators)] + [operator_page(*one) for one in operators]) + "\n"


if __name__ == "__main__":
    (FOLDER / "README.md").write_text(reference(), encoding="utf-8")
