"""Plants a defect that the package once had, and says whether the rehearsal noticed it in the right place.

    plant.py NAME --path             prints which file it changes
    plant.py NAME --rows             prints which rows of the rehearsal must notice it
    plant.py NAME SOURCES            changes a copy of the package's sources
    plant.py NAME --seen OUTPUT      reads what the rehearsal printed
"""

import dataclasses
import re
import sys
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Defect:
    what: str
    path: str
    pattern: str
    replacement: str
    rows: str  # the rows of the rehearsal that must notice it
    seen: str  # what the output then shows


DEFECTS = {
    "fullname": Defect("a kernel does not take its name, which the base class then refuses",
                       "op_impl/ascend/register_ascend.cc", r"\n[^\n]*void set_fullname\([^\n]*override[^\n]*", "",
                       "routing, O0", r"\.compile\([\s\S]*?Call the method which doesn't implement"),
    "words": Defect("a window's words come as a list", "ms_moe_comm/providers/npu.py",
                    r"np\.array\((_ascend\.\w+\([^\n]*\)), np\.int64\)\n[^\n]*writeable[^\n]*", r"\1", "read back",
                    r"window\.stats\(\)[\s\S]*?(TypeError|AttributeError)"),
}


def main():
    name, *rest = sys.argv[1:]
    if name not in DEFECTS:
        sys.exit(f"no defect {name!r}: there is {', '.join(DEFECTS)}")
    defect = DEFECTS[name]
    if rest[0] in ("--path", "--rows"):
        print(getattr(defect, rest[0][2:]))
        return
    if rest[0] == "--seen":
        found = re.search(defect.seen, Path(rest[1]).read_text(encoding="utf-8"))
        if not found:
            sys.exit(f"planted {name} ({defect.what}), and the rehearsal did not notice it where it must")
        print(f"planted {name} ({defect.what}), and the rehearsal noticed: {found[0].splitlines()[0].strip()} ... "
              f"{found[0].splitlines()[-1].strip()}")
        return
    path = Path(rest[0], defect.path)
    text, count = re.subn(defect.pattern, defect.replacement, path.read_text(encoding="utf-8"))
    if count != 1:
        sys.exit(f"the defect {name} has {count} places in {defect.path}, not one: mend plant.py")
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
