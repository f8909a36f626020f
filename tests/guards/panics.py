#!/usr/bin/env python3
"""What is left of panics and of recursion in libmote.a without the standard library.

    panics.py LIBRARY [--update]

LIBRARY is made by profile capi-bare for this machine, an x86-64: one object, linked at link time, with a section for
each function, so that its relocations are its calls. Compares with panics.txt beside this file; a figure above
its own is exit code 1. --update writes the figures anew; another compiler than the table's: says so, exit code 0.

- FILE of the project: places (line and column) that could panic after optimisation, such as an index that the
  compiler could not prove. A panic names its place by a constant, to which the function refers.
- crate or core FILE: the same of other people's code, in what the project calls.
- A file without a reason (`REASONS`) may have none: above all those that read what comes from outside.
- recursion: functions in a cycle of calls that the object names. Those of core's sorting are no deeper than the
  logarithm of what they sort. (Calls through a pointer are the kernels' and executors' tables, and core's
  formatting, which call nothing of what calls them.)
"""
import collections
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

from common import Table, compiler

# What may panic, and why no file, text or id can make it. The first that fits.
REASONS = [
    ("kernels/src/table.rs", "asserts of lengths: the one unsafe call relies on them"),
    ("kernels/", "indices below lengths that table.rs has asserted"),
    ("runtime/src/arch/", None),
    ("runtime/src/config", None),
    ("runtime/src/weights", "layers below n_layers, which forward.rs counts"),
    ("runtime/src/ngram/", None),
    ("runtime/src/tokenizer/", "places in a text or tables of its own: the reasons stand in tokenizer/mod.rs"),
    ("runtime/src/save.rs", "the cache's parts; the saved bytes' lengths were compared before"),
    ("runtime/src/forward", "sizes of Config, in buffers that plan.rs cut for them"),
    ("runtime/src/session", "positions within the context, checked where tokens come in"),
    ("runtime/src/engine.rs", "rows and tokens of a batch, in buffers that plan.rs cut"),
    ("runtime/src/executor.rs", "parts of a buffer that it divides itself"),
    ("runtime/src/", "numbers that the file itself counted: the reasons stand in lib.rs"),
    ("runtime/capi/src/", "sizes that the library measured before it cut the memory"),
    ("bytemuck ", "casts to types of smaller alignment, or of memory that is aligned"),
    ("xxhash-rust ", "stripes of 32 bytes, counted by its loop"),
    ("core slice/sort/", "an order that is total"),
    ("core ", "ranges and sizes of chunks given by the files above"),
]


class Object:
    """The largest member of an archive: its sections, and what each of them refers to."""

    def __init__(self, library):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(library).resolve()
            subprocess.run(["ar", "x", path], check=True, cwd=folder)
            member = max(pathlib.Path(folder).iterdir(), key=lambda member: member.stat().st_size)
            self.bytes = member.read_bytes()
            self.sections = dict(sections(read(["readelf", "-SW", member])))
            self.references = references(read(["readelf", "-rW", member]))
            self.own_calls = own_calls(read(["objdump", "-dr", "--no-show-raw-insn", member]))

    def content(self, name, start=0, length=None):
        offset, size = self.sections[name]
        return self.bytes[offset + start : offset + (size if length is None else start + length)]

    def places(self):
        """{section: (file, line, column)} of the constants that tell where a panic is."""
        found = {}
        for name, referred in self.references.items():
            is_place = name.startswith(".data.rel.ro") and self.sections[name][1] == 24
            if not is_place or len(referred) != 1:
                continue
            (text, start) = referred[0]
            _, length, line, column = struct.unpack("<QQII", self.content(name))
            if text in self.sections:
                file = self.content(text, start, length).decode(errors="replace")
                if file.endswith(".rs"):
                    found[name] = (short(file), line, column)
        return found

    def calls(self):
        """{function: functions}"""
        calls = collections.defaultdict(set)
        for name, referred in self.references.items():
            if name.startswith(".text"):
                calls[name].update(other for other, _ in referred if other.startswith(".text"))
        for name in self.own_calls:
            calls[name].add(name)
        return calls


def read(command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def sections(text):
    """(name, (offset, size))"""
    pattern = r"^\s*\[\s*\d+\]\s+(\S+)\s+\w+\s+[0-9a-f]+\s+([0-9a-f]+)\s+([0-9a-f]+)"
    for name, offset, size in re.findall(pattern, text, re.M):
        yield name, (int(offset, 16), int(size, 16))


def references(text):
    """{section: [(section or symbol, addend)]}"""
    found, name = collections.defaultdict(list), None
    for line in text.splitlines():
        if header := re.match(r"Relocation section '\.rela(\S+)'", line):
            name = header[1]
        elif entry := re.match(r"[0-9a-f]{12,} .* [0-9a-f]{16} (\S+) ([+-]) ([0-9a-f]+)$", line):
            addend = int(entry[3], 16) * (1 if entry[2] == "+" else -1)
            found[name].append((entry[1], addend))
    return found


def own_calls(text):
    """Functions that call themselves: a call within a section needs no relocation."""
    found, name = set(), None
    lines = text.splitlines()
    for line, following in zip(lines, lines[1:] + [""]):
        if header := re.match(r"Disassembly of section (\S+):", line):
            name = header[1]
        elif re.search(r"\tcall\s+[0-9a-f]+ ", line) and "R_X86_64_" not in following:
            found.add(name)
    return found


def short(file):
    """A file's name without the machine: `core slice/mod.rs`, `bytemuck src/internal.rs`."""
    if found := re.search(r"/library/(\w+)/src/(.*)", file):
        return f"{found[1]} {found[2]}"
    if found := re.search(r"/registry/src/[^/]+/(.+?)-\d[^/]*/(.*)", file):
        return f"{found[1]} {found[2]}"
    return file


def path(section):
    """A function's path; instances of a generic one have the same."""
    name = section.removeprefix(".text.").removeprefix("unlikely.")
    path = read(["c++filt", "--format=rust", name]).strip()
    return re.sub(r"\[[0-9a-f]+\]", "", path).split("::<")[0].replace(" ", "_")


def cycles(calls):
    """Functions that can reach themselves, and those on the way from one of them to another: what is left when
    those are taken away, again and again, that call nothing that is left, or that nothing left calls."""
    left = {name: set(called) for name, called in calls.items()}
    while True:
        called = set().union(*left.values()) if left else set()
        kept = {name: others & left.keys() for name, others in left.items() if name in called}
        kept = {name: others for name, others in kept.items() if others}
        if kept == left:
            return sorted(left)
        left = kept


def measure(library):
    """{figure: [value]}, and the files that may not panic and do."""
    made = Object(library)
    places = made.places()
    used = {
        places[other]
        for name, referred in made.references.items()
        if name.startswith(".text")
        for other, _ in referred
        if other in places
    }
    if not used or not made.own_calls | made.calls().keys():
        sys.exit("panics.py: nothing found: is this a library made by profile capi-bare?")
    figures = collections.Counter(file for file, _, _ in used)
    recursive = collections.Counter(map(path, cycles(made.calls())))
    counts = {file.replace(" ", "/", 1): [count] for file, count in figures.items()}
    without = [file for file in figures if not reason(file)]
    for file in without:
        print(f"panics: {file}: has no reason, and must not panic")
        for _, line, column in sorted(place for place in used if place[0] == file):
            print(f"panics:     line {line}, column {column}")
    return {
        **counts,
        "all": [sum(figures.values())],
        **{f"recursion:{name}": [count] for name, count in recursive.items()},
    }, without


def reason(file):
    return next((why for start, why in REASONS if file.startswith(start)), None)


def compare(table, measured):
    """Sentences on what is worse, and on what is better, than the table."""
    worse, better = [], []
    for key in sorted(table.keys() | measured.keys()):
        (new,), (old,) = measured.get(key, [0]), table.get(key, [0])
        if new != old:
            (worse if new > old else better).append(f"{key}: {new}, was {old:.0f}")
    return worse, better


def main(library, *options):
    table = Table("panics.txt", "file places", 1, "bare-metal")
    measured, without = measure(library)
    by = compiler()
    if without and by == table.compiler:
        sys.exit("panics.py: a panic in what reads outside data: use `get`, or checked arithmetic")
    table.finish(measured, compare, "--update" in options, by)
    if by == table.compiler:
        print(f"test result: ok. {len(measured)} passed; 0 failed;")


if __name__ == "__main__":
    main(*sys.argv[1:])
