"""Writes C++ and Python types from ops_yaml, which has one list of an operator's arguments and one of its kernel's.

    python generate.py FOLDER

From the operators' definitions (*.yaml) and from what their kernels get (kernel/*.yaml) it writes

    op_signatures.h     where each argument stands, which results lie in which argument
    kernel_arguments.h  a struct for each kernel; what two kernels share is a base struct
    kernel_entries.h    for the host: each kernel's entry, and the one way to fill its struct: every value has a type of
                        its own, named after the argument
    kernels/*.cpp       for CANN and the host twin: the entries, plain `extern "C"` with addresses and 32-bit integers
    gen_ops_def.pyi     the types of the Python functions, which MindSpore's generator does not write

No list of arguments is written anywhere else, so none can be in another order, lack one, or have one too many.
"""

import sys
from itertools import zip_longest
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
GENERATED = "// Generated from ops_yaml by generate.py."


class Mistake(Exception):
    """The YAML contradicts itself; the text says where and what to do."""


def read(pattern):
    """{name: definition} of all files of the pattern, in a fixed order."""
    import yaml

    found = {}
    for path in sorted(FOLDER.glob(pattern)):
        found.update(yaml.safe_load(path.read_text(encoding="utf-8")))
    return found


def camel_case(name):
    return "".join(part.capitalize() for part in name.split("_"))


class Kernel:
    """What one kernel gets, or what all kernels of a family share.

    Attributes:
        own (dict): its own arguments, name -> source.
        base (Kernel): what it shares with others, or None.
        operator (str): the operator whose arguments the sources name.
    """

    def __init__(self, name, own, base, operators, operator):
        self.name, self.own, self.base, self.operator = name, own, base, operator
        self.definition = operators.get(operator, {"args": {}, "returns": {}})
        for argument, source in own.items():
            self._check(argument, source)

    def _check(self, argument, source):
        args, returns = self.definition["args"], self.definition["returns"]
        known = {"argument": argument in args, "result": argument in returns, "window": True, "launch": True}
        if isinstance(source, dict) and len(source) == 1:
            kind, of = next(iter(source.items()))
            known = {"dimension": isinstance(of, list) and of[0] in args,
                     "element_bytes": isinstance(of, str) and of in args}
            source = kind
        if not known.get(source, False):
            raise Mistake(f"ops_yaml/kernel: '{argument}' of {self.name} comes from {source}, which {self.operator} "
                          "does not have. Name an argument or result of ops_yaml, or another source.")

    @property
    def struct(self):
        return camel_case(self.name) + "Arguments"

    @property
    def arguments(self):
        """All arguments, in the order of the entry."""
        return {**(self.base.arguments if self.base else {}), **self.own}

    def is_address(self, argument):
        source = self.arguments[argument]
        return source in ("result", "window") or (source == "argument" and
                                                  self.definition["args"][argument]["dtype"] == "tensor")

    def type_of(self, argument):
        return "GM_ADDR" if self.is_address(argument) else "uint32_t"


def read_kernels(operators):
    """(families, kernels): the shared parts by name, and the kernels by name."""
    families, kernels = {}, {}
    for path in sorted(FOLDER.glob("kernel/*.yaml")):
        family = None
        for name, entry in read(f"kernel/{path.name}").items():
            if "last_argument" in entry:
                members = [op for op in operators if op.endswith(f"_{name}")]
                check_shared(name, entry["last_argument"], {op: operators[op] for op in members})
                family = families[name] = Kernel(name, entry["kernel"], None, operators, members[0])
                family.last_argument, family.members = entry["last_argument"], members
            else:
                kernels[name] = Kernel(name, entry["kernel"], family, operators, name)
    return families, kernels


def check_shared(family, last, operators):
    """Checks that the operators of a family have the same arguments up to `last`, and the same results."""
    first, *others = operators
    for name in others:
        for what in ("args", "returns"):
            ours, theirs = (list(operators[op][what].items()) for op in (first, name))
            if what == "args":
                count = 1 + [argument for argument, _ in ours].index(last)
                ours, theirs = ours[:count], theirs[:count]
            if ours != theirs:
                differing = next((a or b)[0] for a, b in zip_longest(ours, theirs) if a != b)
                raise Mistake(f"ops_yaml: '{differing}' differs between {first} and {name}, which share their "
                              f"arguments up to '{last}' and all results (ops_yaml/kernel/{family}.yaml).")


# --- op_signatures.h ---

def signature(name, definition):
    arguments, returns = definition["args"], definition["returns"]
    names = list(arguments)

    def array(kind, head, values):
        return f"constexpr {kind}{head}[] = {{{', '.join(values)}}};"

    scalars = ["false" if a["dtype"] == "tensor" else "true" for a in arguments.values()]
    optional = ["true" if a["dtype"] == "tensor" and "default" in a else "false" for a in arguments.values()]
    in_place = [str(names.index(r["inplace"]) if "inplace" in r else -1) for r in returns.values()]
    return [
        f"namespace {name} {{",
        f'constexpr const char *kName = "{name}";',
        *enums(names, returns),
        array("const char *", "kArgumentNames", [f'"{n}"' for n in names]),
        array("bool ", "kIsScalar", scalars),
        array("bool ", "kIsOptional", optional),
        array("int ", "kInPlace", in_place),
        f"constexpr bool kHasWindow = {str('window_control' in names).lower()};",
        "}",
    ]


def enums(names, returns):
    return [f"enum Argument : size_t {{ {', '.join(names)}, kArguments }};",
            f"enum Result : size_t {{ {', '.join('out_' + r for r in returns)}, kResults }};"]


def signatures(operators, families):
    lines = [GENERATED, "#pragma once", "#include <cstddef>", "namespace moe_comm::signatures {"]
    for name, definition in operators.items():
        lines += signature(name, definition)
    for name, family in families.items():  # the places are the same in each operator of the family
        names = list(family.definition["args"])
        shared = names[:1 + names.index(family.last_argument)]
        lines += [f"namespace {name} {{", *enums(shared, family.definition["returns"]), "}"]
    lines.append("}  // namespace moe_comm::signatures")

    def macro(head, entries):
        return f"#define {head} \\\n  " + " \\\n  ".join(entries)

    return [
        *lines,
        macro("MOE_COMM_FOR_EACH_OP(X)", [f"X({camel_case(n)})" for n in operators]),
        macro("MOE_COMM_FOR_EACH_SIGNATURE(X)", [f"X({camel_case(n)}, {n})" for n in operators]),
    ]


# --- kernel_arguments.h ---

def kernel_arguments(families, kernels):
    lines = [GENERATED, "#pragma once", "#include <cstdint>", "#ifndef GM_ADDR",
             "#define GM_ADDR uint8_t *  // on the host", "#endif", "namespace moe_comm {"]
    for kernel in (*families.values(), *kernels.values()):
        base = f" : {kernel.base.struct}" if kernel.base else ""
        lines += [f"struct {kernel.struct}{base} {{",
                  *(f"  {kernel.type_of(argument)} {argument};" for argument in kernel.own), "};"]
    return [*lines, "}  // namespace moe_comm"]


# --- kernels/*.cpp ---

def declaration(kernel, attributes=""):
    parameters = ", ".join(f"{kernel.type_of(argument)} {argument}" for argument in kernel.arguments)
    return f'extern "C" {attributes}void {kernel.name}({parameters})'


def entry(kernel):
    return [
        GENERATED,
        '#include "kernel_operator.h"',
        f'#include "operators/{kernel.name}/op_kernel/{kernel.name}.h"',
        declaration(kernel, "__global__ __aicore__ ") + " {",
        "  KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIV_1_0);",
        f"  moe_comm::{kernel.struct} arguments;",
        *(f"  arguments.{argument} = {argument};" for argument in kernel.arguments),
        f"  moe_comm::{camel_case(kernel.name)}(arguments);",
        "}",
    ]


# --- kernel_entries.h ---

def host_value(kernel, argument):
    """The C++ that fills an argument from the operator's arguments, or None if the launch finds its value."""
    source = kernel.arguments[argument]
    if source == "launch":
        return None
    if source == "window":
        return "window"
    signature_of = f"signatures::{kernel.name}::"
    if source == "result":
        return f"results[{signature_of}out_{argument}]"
    if source == "argument":
        of = f"arguments[{signature_of}{argument}]"
        return f"{of}.data" if kernel.is_address(argument) else f'ScalarOf({of}, "{argument}")'
    kind, of = next(iter(source.items()))
    if kind == "dimension":
        return f"DimensionOf(arguments[{signature_of}{of[0]}], {of[1]})"
    return f"ElementBytesOf(arguments[{signature_of}{of}])"


def typed(names):
    return [f"named::{camel_case(name)} {name}" for name in names]


def function(head, parameters, body):
    return [f"inline {head}({', '.join(parameters)}) {{", *(f"  {line}" for line in body), "}"]


def filled(kernel):
    """C++ that makes a struct from named values and from what kernels share: another order does not compile."""
    shared = [f"const {kernel.base.struct} &shared"] if kernel.base else []
    return function(f"{kernel.struct} {camel_case(kernel.name)}With", shared + typed(kernel.own), [
        f"{kernel.struct} a;",
        *(f"static_cast<{kernel.base.struct} &>(a) = shared;" for _ in shared),
        *(f"a.{name} = {name}.value;" for name in kernel.own),
        "return a;",
    ])


def used(kernel):
    """A kernel's name, its entry, and its arguments in the entry's order."""
    values = ", ".join(f"a.{name}" for name in kernel.arguments)
    return [
        f"{declaration(kernel)};",
        *function("const char *NameOf", [f"const {kernel.struct} &"], [f'return "{kernel.name}";']),
        *function("auto EntryOf", [f"const {kernel.struct} &"], [f"return {kernel.name};"]),
        "template <typename Function>",
        *function("auto Apply", ["Function &&function", f"const {kernel.struct} &a"], [f"return function({values});"]),
    ]


def launched(kernel):
    """C++ that makes a struct from an operator's arguments and results, and from what the launch finds."""
    if not kernel.definition["args"]:
        return []
    values = {name: host_value(kernel, name) for name in kernel.arguments}
    given = [name for name, value in values.items() if value is None]

    def call(part):
        inner = [call(part.base)] if part.base else []
        own = [name if values[name] is None else f"named::{camel_case(name)}({values[name]})" for name in part.own]
        return f"{camel_case(part.name)}With({', '.join(inner + own)})"

    parameters = ["const Arguments &arguments", "const std::vector<uint8_t *> &results", "uint8_t *window",
                  *typed(given)]
    return function(f"{kernel.struct} {camel_case(kernel.name)}Of", parameters, [f"return {call(kernel)};"])


def named_type(name, kind):
    camel = camel_case(name)
    return [f"struct {camel} {{", f"  explicit {camel}({kind}v) : value(v) {{}}", f"  {kind}value;", "};"]


def kernel_entries(families, kernels):
    types = {name: "uint8_t *" if kernel.is_address(name) else "uint32_t "
             for kernel in kernels.values() for name in kernel.arguments}
    return [
        GENERATED, "#pragma once",
        '#include "host/kernel_values.h"', '#include "kernel_arguments.h"', '#include "op_signatures.h"',
        "namespace moe_comm::named {",
        *(line for name, kind in sorted(types.items()) for line in named_type(name, kind)),
        "}  // namespace moe_comm::named",
        "namespace moe_comm {",
        *(line for family in families.values() for line in filled(family)),
        *(line for kernel in kernels.values() for part in (filled, used, launched) for line in part(kernel)),
        "}  // namespace moe_comm",
    ]


# --- gen_ops_def.pyi ---

def typed_function(name, definition):
    def typed_argument(argument, properties):
        kind = "Tensor" if properties["dtype"] == "tensor" else "int"
        if "default" not in properties:
            return f"{argument}: {kind}"
        return f"{argument}: {kind} | None = ..." if kind == "Tensor" else f"{argument}: {kind} = ..."

    results = ", ".join(["Tensor"] * len(definition["returns"]))
    return [f"def {name}(", *(f"    {typed_argument(*argument)}," for argument in definition["args"].items()),
            f") -> {f'tuple[{results}]' if ',' in results else results}: ..."]


def stub(operators):
    return ["from mindspore import Tensor", "",
            *(line for name, definition in operators.items() for line in typed_function(name, definition))]


def write(path, lines):
    text = "\n".join(lines) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:  # an untouched file causes no rebuild
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def generate(folder):
    operators = read("moe_*.yaml")
    families, kernels = read_kernels(operators)
    write(folder / "op_signatures.h", signatures(operators, families))
    write(folder / "gen_ops_def.pyi", stub(operators))
    write(folder / "kernel_arguments.h", kernel_arguments(families, kernels))
    write(folder / "kernel_entries.h", kernel_entries(families, kernels))
    for name, kernel in kernels.items():
        write(folder / "kernels" / f"{name}.cpp", entry(kernel))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        generate(Path(sys.argv[1]))
    except Mistake as mistake:
        sys.exit(f"ms_moe_comm: {mistake}")
