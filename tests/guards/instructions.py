#!/usr/bin/env python3
"""Instructions of every kernel, counted by callgrind in `mote bench kernels --once`.

    instructions.py BINARY [--update]

Compares instructions for each operation (a multiply-add, or an element) with instructions.txt beside
this file: more than 3 % above a figure is exit code 1. --update writes the table instead. Another
compiler than the table's: says so, exit code 0. The targets are those that valgrind can show to the
program, which are scalar and avx2 on a CPU that has it.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

from common import Table, compiler

TOLERANCE = 0.03


def measure(binary):
    """{"target kernel": [instructions for each operation]}"""
    with tempfile.TemporaryDirectory() as folder:
        # Counts inside `counted_pass` only; a part of the profile ends before operands are prepared,
        # so the first part is empty and each other one has the kernel that ran before it ended.
        tool = ["--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        tool += ["--toggle-collect=*counted_pass*", "--dump-before=*prepare::prepare"]
        command = ["valgrind", "-q", *tool, binary, "bench", "kernels", "--once"]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        kernels = [line.split() for line in result.stdout.splitlines()]
        parts = [f"out.{i}" for i in range(2, len(kernels) + 1)] + ["out"]
        totals = [total(pathlib.Path(folder, part)) for part in parts]
    if 0 in totals:
        sys.exit("instructions.py: nothing counted: where are counted_pass and prepare?")
    counts = zip(kernels, totals)
    return {f"{t} {kernel}": [float(f"{n / int(work):.4g}")] for (t, kernel, work), n in counts}


def total(part):
    """Instructions of a part of the profile."""
    found = re.search(r"^(?:summary|totals): (\d+)", part.read_text("utf-8"), re.M)
    return int(found[1]) if found else 0


def compare(table, measured):
    """Sentences on what is worse, and on what is better, than the table."""
    worse, better = [], []
    # A CPU without a target of the table cannot count it.
    targets = {key.split()[0] for key in measured}
    for key in sorted(table.keys() | measured.keys()):
        if key not in measured:
            if key.split()[0] in targets:
                worse.append(f"{key}: no such kernel any more")
        elif key not in table:
            better.append(f"{key}: new")
        else:
            (old,), (new,) = table[key], measured[key]
            if new > old * (1 + TOLERANCE):
                worse.append(f"{key}: {new} instructions, were {old}")
            elif new < old * (1 - TOLERANCE):
                better.append(f"{key}: {new} instructions, were {old}")
    return worse, better


if __name__ == "__main__":
    table = Table("instructions.txt", "target kernel instructions-for-each-operation", 2)
    table.finish(measure(sys.argv[1]), compare, "--update" in sys.argv[2:], compiler())
