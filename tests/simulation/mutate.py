"""Mutants of the kernels: each drops or changes one statement, and the simulation must notice.

The rules below generate the mutants from the sources. All are compiled at once, into a copy of the kernels in which a
variable picks one ("if (mutant != 17) Sync<..>();"), and then run one by one until a seed reports a defect. Prints what
killed each mutant. Exit status 1 if a mutant survives that equivalent_mutants.txt does not explain, or if a mutant is
killed that it explains.

    python mutate.py COPY          writes the mutants' sources into the folder COPY, a copy of op_impl
    python mutate.py COPY PROGRAM  runs PROGRAM, the simulation that was built from it, once per mutant
"""

import collections
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

SOURCES = ["kernel/*.h", "operators/moe_*/op_kernel/*.h"]
EXPLAINED = Path(__file__).resolve().parent / "equivalent_mutants.txt"
SEEDS = 800
EXPLAINED_SEEDS = 100
SECONDS = 120  # of processor time: the unchanged kernels never take so long, so a mutant that does has hung

# A call that is a statement, with any name except those that set up buffers, put a word into one, or measure a time.
NOT_CALLED = ("Init|InitBuffer|MakeBuffers|SetGlobalBuffer|SetValue|Lap|Waited|AddWaited|End|static_assert|return|if|"
              "for|while|switch")
CALLS = rf"(?<![\w.>:)])(?:\w[\w.>:-]*?)?\b(?!(?:{NOT_CALLED})\b)\w+(?:<[\w:]+>)?"
CONDITIONS = r"epoch|Failed|capacity|Expired|Here|expired|kNote|fits|Check|> 0|>= 0|< 0|none|None|IsCurrent|all\b"
Mutant = collections.namedtuple("Mutant", "start end text kind")


def closing(text, opening):
    """The index after the parenthesis that closes the one at `opening`."""
    depth = 0
    for index in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return index + 1
    raise ValueError(f"no closing parenthesis: {text[opening:opening + 60]!r}")


def dropped_calls(text):
    for match in re.finditer(CALLS + r"\(", text):
        end = closing(text, match.end() - 1)
        before = text[:match.start()].rstrip()
        if text[end:end + 1] == ";" and re.search(r"(?:[;{})]|\belse|\bcase \w+:|\bdefault:)$", before):
            call = text[match.start():end + 1]
            yield Mutant(match.start(), end + 1, "if (MUTANT != {n}) " + call, "drop")


def replaced(text, pattern, replacement, kind):
    """One mutant for each match: `replacement` with the groups of `pattern` and {n}."""
    for match in re.finditer(pattern, text):
        line = text[text.rfind("\n", 0, match.start()) + 1:text.find("\n", match.end())]
        if "constexpr" in line or "InitBuffer" in line or line.lstrip().startswith("//"):
            continue
        changed = match.expand(replacement.replace("{n}", "@@"))
        yield Mutant(match.start(), match.end(), changed.replace("@@", "{n}"), kind)


def function_around(text, position):
    """The name of the function in which `position` lies."""
    names = re.findall(r"__aicore__[^(;]*?(\w+)\(", text[:position])
    return names[-1] if names else "none"


def mutants_of(text):
    yield from dropped_calls(text)
    # a barrier that waits for nobody
    yield from replaced(text, r"\b((?:\w+\.)*failure_?)\.Barrier\(\)",
                        r"(MUTANT == {n} ? !\1.Failed() : \1.Barrier())", "no barrier")
    # the length of the last piece
    yield from replaced(text, r"((?:moe_comm::)?\bMin)\(([\w:]+), ([\w ()\-]+?)\);",
                        r"(MUTANT == {n} ? \2 : \1(\2, \3));", "tail")
    # offsets and lengths
    yield from replaced(text, r"\* (kLineBytes|kWordPitch|sizeof\(\w+\)|row_bytes_?|top_k_?|buffer_bytes_)\b",
                        r"* (MUTANT == {n} ? 0 : \1)", "offset")
    yield from replaced(text, r"\bOwn\(([^(),]+), (\w+)\)", r"Own(\1, MUTANT == {n} ? 0 : \2)", "piece")
    # shares of the work
    yield from replaced(text, r"\b(GetBlockIdx\(\)|block) \+ 1\b", r"\1 + (MUTANT == {n} ? 0 : 1)", "bound")
    # parity, epochs and numbers
    yield from replaced(text, r"(\w+_? = window->(?:epoch|exchange)) \+ 1", r"\1 + (MUTANT == {n} ? 2 : 1)", "epoch")
    yield from replaced(text, r"window_->CountsRow\(exchange_",
                        r"window_->CountsRow(exchange_ + (MUTANT == {n} ? 1 : 0)", "parity")
    yield from replaced(text, r"\breturn ([^;?]*?(?:==|!=|>=|<=| < | > )[^;?]*);", r"return MUTANT == {n} || (\1);",
                        "always true")
    # conditions of the protocol
    for value, kind in (("MUTANT != {n} && ", "never"), ("MUTANT == {n} || ", "always")):
        for match in re.finditer(r"\bif \(", text):
            end = closing(text, match.end() - 1)
            condition = text[match.end():end - 1]
            if "\n" in condition or not re.search(CONDITIONS, condition):
                continue
            yield Mutant(match.start(), end, f"if ({value}({condition}))", kind)
    yield from replaced(text, r"\b(all|routed) = (true|false);", r"\1 = (MUTANT == {n}) != \2;", "start value")


def write(folder):
    """Puts all mutants into the copy; the index of each is its number."""
    described = []
    paths = sorted(path for pattern in SOURCES for path in folder.glob(pattern))
    for path in paths:
        text = path.read_text(encoding="utf-8")
        chosen = []
        for mutant in sorted(mutants_of(text), key=lambda m: (m.start, -m.end)):
            number = len(described)
            line = text.count("\n", 0, mutant.start) + 1
            source = " ".join(text[mutant.start:mutant.end].split())
            place = [str(path.relative_to(folder)), function_around(text, mutant.start), mutant.kind, source]
            place.append(1 + sum(other["place"][:4] == place for other in described))
            described.append({"line": line, "place": place})
            chosen.append((mutant, number))
        path.write_text(weave(text, chosen), encoding="utf-8")
    (folder / "mutants.json").write_text(json.dumps(described), encoding="utf-8")
    write_switch(folder)
    print(f"{len(described)} mutants in {len(paths)} files")


def write_switch(folder):
    """Writes the variable that picks one of the changes in the copy: MUTANT, which the environment sets."""
    header = "extern int moe_comm_mutant;\n#define MUTANT ::moe_comm_mutant\n"
    (folder / "mutant.h").write_text(header, encoding="utf-8")
    (folder / "mutant.cc").write_text(
        '#include <cstdlib>\nint moe_comm_mutant = std::getenv("MUTANT") ? std::atoi(std::getenv("MUTANT")) : -1;\n',
        encoding="utf-8")


def weave(text, chosen):
    """The text with all mutants in it. A mutant within another becomes part of it, and changes only its own place."""
    def render(start, end, inside):
        out, at = "", start
        index = 0
        while index < len(inside):
            mutant, number = inside[index]
            nested = []
            index += 1
            while index < len(inside) and inside[index][0].start < mutant.end:
                nested.append(inside[index])
                index += 1
            out += text[at:mutant.start]
            original = text[mutant.start:mutant.end]
            changed = mutant.text.replace("{n}", str(number))
            if nested:
                changed = nest(original, changed, render(mutant.start, mutant.end, nested))
            out += changed
            at = mutant.end
        return out + text[at:end]

    def nest(original, changed, inner):
        """`changed`, where the mutated `inner` replaces the `original`, or the condition of `original`."""
        if original in changed:
            return changed.replace(original, inner, 1)
        if original.startswith("if (") and inner.startswith("if ("):
            return changed.replace(original[4:-1], inner[4:-1], 1)
        for keyword in ("return ",):
            if original.startswith(keyword):
                return changed.replace(original[len(keyword):-1], inner[len(keyword):-1], 1)
        raise ValueError(f"cannot put {inner!r} into {changed!r}")

    return render(0, len(text), chosen)


def explanations():
    """{(file, function, kind, source, number among equal ones): why the mutant has no visible effect}."""
    known = {}
    for entry in EXPLAINED.read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in entry.splitlines() if line and not line.startswith("#")]
        if lines:
            file, function, kind, source, times = (lines[0] + " | 1").split(" | ")[:5]
            known[file, function, kind, source, int(times)] = " ".join(lines[1:])
    return known


def trial(program, number, seeds):
    """Runs one mutant: (whether it was reported, by what, under which seed)."""
    limited = ["bash", "-c", 'ulimit -t "$0" && exec "$@"', str(SECONDS), program, "--seeds", str(seeds)]
    result = subprocess.run(limited, env={**os.environ, "MUTANT": str(number)}, capture_output=True, text=True,
                            check=False)
    if result.returncode == 0:
        return False, "", 0
    lines = result.stdout.splitlines()
    if -result.returncode in (signal.SIGXCPU, signal.SIGKILL):
        return True, "no end", 0
    seed = re.search(r"^seed (\d+)", result.stdout, re.M)
    return True, lines[1] if len(lines) > 1 else f"exit status {result.returncode}", int(seed[1]) if seed else 0


def run(folder, program):
    described = json.loads((folder / "mutants.json").read_text(encoding="utf-8"))
    known = explanations()
    only = [int(n) for n in os.environ.get("MUTANTS", "").split(",") if n]
    only = only or range(0, len(described), int(os.environ.get("EVERY", "1")))
    wrong, equivalent, reports, most_seeds = [], 0, collections.Counter(), 0
    start = time.monotonic()
    chosen = [(n, m["line"], tuple(m["place"])) for n, m in enumerate(described) if n in only]
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    trials = {number: pool.submit(trial, program, number, EXPLAINED_SEEDS if place in known else SEEDS)
              for number, _, place in chosen}
    for number, line, place in chosen:
        file, function, kind, source, _ = place
        name = f"{number:3} {file}:{line} {function}, {kind}: {source[:70]}"
        killed, by, seed = trials[number].result()
        verdict = f"seed {seed}: {by[:110]}" if killed else f"SURVIVED {SEEDS} seeds"
        if place in known:
            equivalent += not killed
            verdict = f"THE EXPLANATION IS WRONG, {verdict}" if killed else f"equivalent: {known[place]}"
        elif killed:
            reports[by.split(":")[0].split(" on ")[0]] += 1
            most_seeds = max(most_seeds, seed)
        if killed == (place in known):
            wrong.append(f"{name}: {verdict}")
        print(f"{name}\n    {verdict}", flush=True)
    for place in set(known) - {place for _, _, place in chosen} if len(chosen) == len(described) else ():
        wrong.append(f"equivalent_mutants.txt explains what is no mutant: {place}")
    print(f"\n{len(chosen)} mutants: {sum(reports.values())} killed, {equivalent} equivalent, "
          f"{len(wrong)} wrong; {most_seeds} seeds at most; {time.monotonic() - start:.0f} s")
    for report, times in reports.most_common():
        print(f"  {times:4} by {report}")
    for line in wrong:
        print(f"wrong: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) == 2:
        write(Path(sys.argv[1]))
    elif len(sys.argv) == 3:
        sys.exit(run(Path(sys.argv[1]), sys.argv[2]))
    else:
        sys.exit(__doc__)
