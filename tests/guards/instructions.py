#!/usr/bin/env python3
"""Instructions of every kernel, counted by callgrind in `mote bench kernels --once`.

    instructions.py BINARY [--update]

Compares instructions for each operation (a multiply-add, or an element) with instructions.txt beside
this file: more than 3 % above a figure is exit code 1. --update writes the table instead. Another
compiler than the table's: says so, exit code 0. The targets are those that valgrind can show to the
program, which are scalar and avx2 on a CPU that has it.
"""
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from common import Table, compiler

TOLERANCE = 0.03


def run(binary, valgrind, *arguments):
    command = ["valgrind", "-q", *valgrind, binary, "bench", "kernels", "--once", *arguments]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return [line.split() for line in result.stdout.splitlines()]


def count(binary, target, kernel, operations):
    """Instructions for each operation. A process for each kernel: what else it does is not counted."""
    with tempfile.NamedTemporaryFile("r", suffix=".callgrind") as out:
        tool = ["--tool=callgrind", f"--callgrind-out-file={out.name}"]
        tool.append("--toggle-collect=*counted_pass*")
        # A name that is part of another one would count both.
        ran = run(binary, tool, "--target", target, "--kernel", kernel)
        if ran != [[target, kernel, operations]]:
            sys.exit(f"instructions.py: {target} {kernel} ran {ran}")
        with open(out.name, encoding="utf-8") as text:
            total = re.search(r"^(?:summary|totals): (\d+)", text.read(), re.M)
    if not total or int(total[1]) == 0:
        sys.exit(f"instructions.py: nothing counted for {target} {kernel}: where is counted_pass?")
    return float(f"{int(total[1]) / int(operations):.4g}")


def measure(binary):
    """{"target kernel": [instructions for each operation]}"""
    kernels = run(binary, ["--tool=none"])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = pool.map(lambda kernel: count(binary, *kernel), kernels)
        return {f"{target} {kernel}": [n] for (target, kernel, _), n in zip(kernels, counts)}


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
