"""Plants the faults of planted_faults.txt in a copy of the kernels, in which a variable picks one.

    python plant.py COPY                 plants them in the folder COPY, a copy of op_impl
    python plant.py COPY PROGRAM [NAME]  runs PROGRAM, the simulation that was built from COPY, with the fault NAME or
                                         with each fault. Prints which seed notices it; exit status 1 if none does.
                                         Without NAME races.py also judges traces: those of the unchanged kernels must
                                         have no race, those of the kernels without a wait must have one
"""

import itertools
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import races
from mutate import trial, write_switch

LIST = Path(__file__).resolve().parent / "planted_faults.txt"
SEEDS = 400
TRACED = 9           # traces of the unchanged kernels
SMALL_STEPS = 15000  # steps of a run that is traced
MISSING_WAIT = "no_wait_for_rows"


def faults():
    """{name: (what is wrong, [(file, piece, replacement)])}."""
    found = {}
    for entry in LIST.read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in entry.splitlines() if not line.startswith("#")]
        if lines:
            name, wrong = lines[0].split(" | ")
            places = [place.split(" | ", 1) for place in lines[1::2]]
            found[name] = wrong, [(*place, new) for place, new in zip(places, lines[2::2])]
    return found


def weave(text, piece, replacement, number):
    """The text with both forms of the statement or expression within {{ }}, wherever the piece occurs."""
    parts = [r"\s*".join(re.escape(word) for word in part.split()) for part in re.split(r"{{|}}", piece)]
    choice = "if (MUTANT == %d) { %s } else { %s }" if ";}}" in piece else "(MUTANT == %d ? (%s) : (%s))"
    return re.subn(r"(%s\s*)(%s)(?=\s*%s)" % tuple(parts), lambda m: m[1] + choice % (number, replacement, m[2]), text)


def write(folder):
    for number, (name, (_, places)) in enumerate(faults().items()):
        for file, piece, replacement in places:
            path = folder / file
            text, times = weave(path.read_text(encoding="utf-8"), piece, replacement, number)
            if times == 0:
                sys.exit(f"planted_faults.txt: {name}: {file} has no piece {piece!r} any more")
            path.write_text(text, encoding="utf-8")
    write_switch(folder)


def run(program, only):
    known = faults()
    if only not in ("all", *known):
        sys.exit(f"no fault {only!r} in planted_faults.txt; there are: all, {', '.join(known)}")
    failed = 0
    for number, (name, (wrong, _)) in enumerate(known.items()):
        if only not in ("all", name):
            continue
        noticed, report, seed = trial(program, number, SEEDS)
        failed += not noticed
        print(f"{name}: {wrong}\n    {f'seed {seed}: {report}' if noticed else f'NOT NOTICED in {SEEDS} seeds'}",
              flush=True)
        if name == MISSING_WAIT:
            failed += not any(traced_races(program, number, seed) for seed in small_seeds(program))
    if only == "all":
        print("unchanged kernels")
        failed += any([traced_races(program, -1, seed) for seed in itertools.islice(small_seeds(program), TRACED)])
    return 1 if failed else 0


def simulate(program, number, seed, *arguments):
    return subprocess.run([program, "--seed", str(seed), *arguments], env={**os.environ, "MUTANT": str(number)},
                          capture_output=True, text=True, check=False).stdout


def small_seeds(program):
    for seed in range(1, SEEDS):
        steps = re.search(r"(\d+) scheduler steps", simulate(program, -1, seed))
        if steps and int(steps[1]) <= SMALL_STEPS:
            yield seed


def traced_races(program, number, seed):
    """How many races races.py finds in the trace of a whole run with that fault."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        simulate(program, number, seed, "--trace", file.name, "--go-on", "yes")
        found, text = races.judge(file.name)
    print(f"    trace of seed {seed}: {text}", flush=True)
    return found


if __name__ == "__main__":
    if len(sys.argv) == 2:
        write(Path(sys.argv[1]))
    elif len(sys.argv) in (3, 4):
        sys.exit(run(sys.argv[2], *sys.argv[3:] or ["all"]))
    else:
        sys.exit(__doc__)
