"""Finds races in a trace of a simulated run, with vector clocks, from the trace alone (host_twin/check/trace.h).

    python races.py TRACE   prints how many pairs of places race, and the first; exit status 1 if there is one
"""

import collections
import json
import sys

PIPES = ("S", "V", "MTE2", "MTE3")
VERSION = 1
SHOWN = 4   # at most so many races
GRANULE = 4  # bytes
LINE = 64    # flags on whole lines may overwrite each other: all cores tell a rank's error

Access = collections.namedtuple("Access", "component stamp flag whole_lines event")


def joined(a, b):
    return a if a is b else [max(pair) for pair in zip(a, b)]


class Core:
    """The pipes of a core, or a host's only one: clocks of the next instruction, and of a waiter for all so far."""

    def __init__(self, first, pipes, components):
        self.component = {pipe: first + i for i, pipe in enumerate(pipes)}
        self.start = {pipe: [0] * components for pipe in pipes}
        self.done = dict(self.start)
        self.sets = collections.defaultdict(collections.deque)

    def all(self):
        clock = self.start["S"]
        for pipe in self.component:
            clock = joined(joined(clock, self.start[pipe]), self.done[pipe])
        return clock

    def order(self, clock):
        for pipe in self.component:
            self.start[pipe] = self.done[pipe] = clock


class Checker:
    def __init__(self, head):
        if head.get("trace") != VERSION:
            sys.exit(f"not a trace of version {VERSION}: {head}")
        self.ranks, self.cores = head["ranks"], head["cores"]
        per_rank = 1 + self.cores * len(PIPES)
        self.stamps = [0] * (self.ranks * per_rank)
        self.by = {}
        for rank in range(self.ranks):
            self.by[f"{rank}.host"] = Core(rank * per_rank, ("S",), len(self.stamps))
            for core in range(self.cores):
                self.by[f"{rank}.{core}"] = Core(rank * per_rank + 1 + core * len(PIPES), PIPES, len(self.stamps))
        self.writes, self.reads = {}, collections.defaultdict(dict)
        self.handed_on = {}   # id of a write of flags -> its clock
        self.launches = {}    # id -> the host's clock
        self.running = collections.Counter()  # rank -> cores of its launch
        self.waiting = collections.defaultdict(dict)  # rank -> core -> its clock in SyncAll
        self.events = {by: collections.deque() for by in self.by}
        self.races = {}

    def race(self, access, other, what):
        key = tuple(sorted((access.event["at"], other.event["at"])))
        self.races.setdefault(key, f"{what}: {describe(access.event)}, not ordered with {describe(other.event)}")

    def touch(self, event, space, ranges, clock, write, flag=False):
        component = self.by[event["by"]].component[event["pipe"]]
        whole = flag and all(begin % LINE == 0 and size % LINE == 0 for begin, size in ranges)
        access = Access(component, self.stamps[component], flag, whole, event)
        for begin, size in ranges:
            for granule in range(begin // GRANULE, (begin + size + GRANULE - 1) // GRANULE):
                place = space, granule
                last = self.writes.get(place)
                if last and last.stamp > clock[last.component] and last.event is not event:
                    atomic = last.whole_lines and whole if write else last.flag and flag
                    if not atomic:
                        self.race(access, last, f"{'write' if write else 'read'} of {space} +{granule * GRANULE}")
                if not write:
                    self.reads[place][component] = access
                    continue
                for read in self.reads.pop(place, {}).values():
                    if read.stamp > clock[read.component] and not (read.flag and flag) and read.event is not event:
                        self.race(access, read, f"write of {space} +{granule * GRANULE}")
                self.writes[place] = access

    def instruction(self, event, reads, writes):
        """`reads`, `writes`: [(space, [(address, bytes), ..])]."""
        core, pipe = self.by[event["by"]], event["pipe"]
        component, flag = core.component[pipe], event.get("flags", False)
        self.stamps[component] += 1
        clock = core.start[pipe]
        for space, ranges in reads:
            self.touch(event, space, ranges, clock, False, flag and space == "gm")
        for space, ranges in writes:
            self.touch(event, space, ranges, clock, True, flag and space == "gm")
        if flag and writes and writes[0][0] == "gm":
            self.handed_on[event["id"]] = clock
        after = list(joined(core.done[pipe], clock) if pipe == "S" else core.done[pipe])
        after[component] = self.stamps[component]
        for write in event.get("saw", ()):
            after = joined(after, self.handed_on[write])
        core.done[pipe] = after
        if pipe == "S":
            core.start[pipe] = after

    def can_go_on(self, event):
        rank, op = event["by"].split(".")[0], event["op"]
        if op == "begin":
            return event["launch"] in self.launches
        if op == "return":
            return self.running[rank] == 0
        if op == "join":
            return not any(self.events[by] for by in self.events if by.startswith(f"{event['rank']}."))
        return all(write in self.handed_on for write in event.get("saw", ()))

    def step(self, event):
        """Handles an event; False if the core now waits in SyncAll."""
        by, pipe, op = event["by"], event["pipe"], event["op"]
        rank, core = by.split(".")[0], self.by[by]
        local = f"{by} ub"
        if op in ("read", "write") and event["space"] != "cache":
            place = [(local if event["space"] == "ub" else "gm", [(event["address"], event["bytes"])])]
            self.instruction(event, place if op == "read" else [], place if op == "write" else [])
        elif op == "writeback":
            self.instruction(event, [], [("gm", [(event["address"], event["bytes"])])])
        elif op == "vector":
            self.instruction(event, [(local, event["reads"])], [(local, [event["writes"]])])
        elif op == "move":
            sides = [(event[end] if event[end] == "gm" else local,
                      [(event[f"{end}_address"] + i * event[f"{end}_pitch"], event["bytes"])
                       for i in range(event["blocks"])]) for end in ("from", "to")]
            self.instruction(event, sides[:1], sides[1:])
        elif op == "set":
            core.sets[event["event"], event["number"]].append(joined(core.start[pipe], core.done[pipe]))
        elif op == "wait":
            core.start[pipe] = joined(core.start[pipe], core.sets[event["event"], event["number"]].popleft())
        elif op == "barrier" and event["of"] != "ALL":
            core.start[pipe] = joined(core.start[pipe], core.done[pipe])
        elif op in ("barrier", "end"):
            core.order(core.all())
            if op == "end":
                host = self.by[f"{rank}.host"]
                host.order(joined(host.all(), core.all()))
                self.running[rank] -= 1
        elif op == "syncall":
            self.waiting[rank][by] = core.all()
            if len(self.waiting[rank]) < self.running[rank]:
                return False
            clock = core.all()
            for other in self.waiting[rank].values():
                clock = joined(clock, other)
            for other in self.waiting.pop(rank):
                self.by[other].order(clock)
        elif op == "launch":
            self.launches[event["id"]], self.running[rank] = core.all(), event["cores"]
        elif op == "begin":
            core.order(self.launches[event["launch"]])
        elif op == "join":
            for other, ended in self.by.items():
                if other.startswith(f"{event['rank']}."):
                    core.order(joined(core.all(), ended.all()))
        return True

    def run(self):
        ready = True
        while ready:
            ready = False
            for by, events in self.events.items():
                while events and by not in self.waiting[by.split(".")[0]] and self.can_go_on(events[0]):
                    ready = True
                    if not self.step(events.popleft()):
                        break
        return sum(len(events) for events in self.events.values())


def describe(event):
    return f"{event['op']} at {event['at']} by {event['by']} {event['pipe']}"


def judge(path):
    """How many races a trace has, and a text that names the first."""
    with open(path, encoding="utf-8") as lines:
        checker = Checker(json.loads(next(lines)))
        number = 0
        for line in lines:
            event = json.loads(line)
            if "id" in event:
                checker.events[event["by"]].append(event)
                number += 1
    left = checker.run()
    head = f"{number} events, {left} of them behind what never came: {len(checker.races)} pairs of places race"
    return len(checker.races), "\n        ".join([head, *list(checker.races.values())[:SHOWN]])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    races, told = judge(sys.argv[1])
    print(told)
    sys.exit(races > 0)
