"""Writes the trap stubs: symbols.py MINDSPORE OWN.so TARGET.s

Names come from MindSpore's wheel: the symbols that its Ascend libraries leave undefined, and the names that they look
up by dlsym, which are among their strings. Symbols that OWN.so defines get no stub.
"""

import re
import subprocess
import sys
from pathlib import Path

# aclnn operators get no stub: MindSpore checks whether they exist, and names a missing one
LOOKED_UP = re.compile(r"(acl(rt|mdl|op|prof|tdt)?[A-Z]|Hccl[A-Z]|hal[A-Z]|drv[A-Z]|rt[A-Z][a-z]|Adump|Msprof)\w*")
CANN = re.compile(r"acl|Hccl|hccl|Hcom|hal|drv|rt[A-Z]|Adump|Msprof|_ZN?K?2ge|_ZT.N?2ge|_ZT.2ge|mm[A-Z]|shmem")
X86_64 = 62  # in an ELF header; the wheel also has kernels for the card's own processors
STUB = """\
.section .rodata
.Lname{number}: .asciz "{name}"
.text
.globl {name}
.type {name}, @function
{name}:
  lea rax, [rip + .Lname{number}]
  jmp stand_in_trap_entry
.size {name}, . - {name}
"""
ENTRY = """\
.text
.type stand_in_trap_entry, @function
stand_in_trap_entry:
  push rbp
  mov rbp, rsp
  and rsp, -16
  mov rdi, rax
  call stand_in_trap@PLT
  xor eax, eax
  leave
  ret
"""


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def symbols(library, *options):
    """Names, without versions."""
    return {line.split()[-1].split("@")[0] for line in output("nm", "-D", *options, library).splitlines()}


def main():
    mindspore, own, target = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    plugin = mindspore / "lib" / "plugin"
    libraries = [*plugin.glob("libmindspore_*ascend*"), *(plugin / "ascend").glob("lib*.so")]
    libraries = [path for path in libraries if path.read_bytes()[18] == X86_64]
    undefined, defined, looked_up = set(), set(), set()
    for library in libraries:
        undefined |= symbols(library, "--undefined-only")
        looked_up |= {text for text in output("strings", "-n", "5", library).splitlines()
                      if LOOKED_UP.fullmatch(text) and not text.endswith("FunObj") and not text.startswith("aclnn")}
    for library in [*libraries, *(mindspore / "lib").glob("*.so*"), *mindspore.glob("*.so")]:
        defined |= symbols(library, "--defined-only")
    names = {name for name in undefined - defined if CANN.match(name)} | looked_up
    names = sorted(names - symbols(own, "--defined-only"))
    allowed = [line.split()[0] for line in Path(__file__).with_name("allowed_traps.txt").read_text().splitlines()
               if line.strip() and not line.startswith("#")]
    with open(target, "w", encoding="ascii") as file:
        file.write('.section .note.GNU-stack, "", @progbits\n.intel_syntax noprefix\n')
        file.writelines(STUB.format(number=number, name=name) for number, name in enumerate(names))
        file.write(ENTRY)
        file.write('.section .rodata\n' + "".join(f'.Lallowed{i}: .asciz "{name}"\n' for i, name in enumerate(allowed)))
        file.write('.section .data.rel.ro, "aw"\n.balign 8\n.globl stand_in_allowed_traps\nstand_in_allowed_traps:\n')
        file.write("".join(f".quad .Lallowed{i}\n" for i in range(len(allowed))) + ".quad 0\n")
    print(f"{len(names)} functions of CANN without a stand-in")


if __name__ == "__main__":
    main()
