"""Writes the entries of kernels from their signatures: write_entries.py TARGET.cc KERNEL.cpp...

A kernel's arguments come in one block, as on an NPU: the sync address, the arguments in order, the overflow pointer.
"""

import re
import sys
from pathlib import Path

SIGNATURE = re.compile(r'extern\s+"C"\s+__global__\s+__aicore__\s+void\s+(\w+)\s*\(([^)]*)\)')
TYPES = {"GM_ADDR": "uint8_t *", "uint32_t": "uint32_t ", "uint64_t": "uint64_t ", "int32_t": "int32_t "}


def kernels_of(path):
    """Name and (C++ type, name) of each argument."""
    for name, parameters in SIGNATURE.findall(Path(path).read_text(encoding="utf-8")):
        yield name, [(TYPES[kind], argument) for kind, argument in (p.split() for p in parameters.split(","))]


def entry(name, parameters):
    declared = ", ".join(kind + argument for kind, argument in parameters)
    members = "".join(f"  {kind}{argument};\n" for kind, argument in parameters)
    return f"""
extern "C" void {name}({declared});
struct {name}_arguments {{
  uint64_t sync_address;
{members}  void *overflow;
}};
static void {name}_run(uint32_t blocks, const void *arguments) {{
  const auto &a = *static_cast<const {name}_arguments *>(arguments);
  AscendC::backend::Launch(static_cast<int64_t>(blocks), {name}, {", ".join(f"a.{p}" for _, p in parameters)});
}}
extern "C" PUBLIC const stand_in::KernelEntry stand_in_{name} = {{sizeof({name}_arguments), {name}_run}};
extern "C" PUBLIC uint32_t aclrtlaunch_{name}(uint32_t blocks, void *stream, {declared}) {{
  {name}_arguments arguments = {{0, {", ".join(p for _, p in parameters)}, nullptr}};
  return stand_in_launch("{name}", &stand_in_{name}, blocks, stream, &arguments);
}}
"""


def main():
    target, *sources = sys.argv[1:]
    kernels = [kernel for source in sources for kernel in kernels_of(source)]
    if not kernels:
        sys.exit(f"no kernel in {' '.join(sources)}")
    head = ['#include "host_twin/fast/launch.h"', '#include "kernels.h"',
            '#define PUBLIC __attribute__((visibility("default")))']
    Path(target).write_text("\n".join(head) + "\n" + "".join(entry(*kernel) for kernel in kernels), encoding="utf-8")


if __name__ == "__main__":
    main()
