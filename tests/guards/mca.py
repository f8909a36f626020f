#!/usr/bin/env python3
"""Multiply-adds per cycle in the loops of the integer kernels for aarch64, as llvm-mca computes them.

    mca.py BINARY [NAME...]     NAME: part of a function's name; default: all kernels

Cortex-A72 (Raspberry Pi 4) by LLVM's model of that name, Cortex-A76 (Pi 5) by the one of its twin, the
Neoverse N1, because LLVM has no model of the A76 itself; what has smmla by those of the Neoverse N2 (two
vector pipes) and V1 (four). Caches and memory are not in the models.
Looks at every innermost loop with products of bytes. Needs llvm-mca 19 or newer, by its name or in
LLVM_MCA.
"""
import os
import re
import shutil
import subprocess
import sys

from loops import kernel_loops

CPUS = {"A72": "cortex-a72", "N1": "neoverse-n1", "N2": "neoverse-n2", "V1": "neoverse-v1"}
# Multiply-adds of an instruction.
PRODUCTS = {"sdot": 16, "smmla": 32, "smull": 8, "smull2": 8, "smlal": 8, "smlal2": 8}
ROUNDS = 100


def assembly(instructions):
    """The loop as llvm-mca reads it: targets of jumps do not matter."""
    lines = [".arch armv8.6-a+i8mm+dotprod", "here:"]
    for _, mnemonic, operands in instructions:
        operands = operands.split("//")[0].strip()
        operands = re.sub(r"(?:(?<=^)|(?<=, ))[0-9a-f]+ <.*>$", "here", operands)
        # To llvm-mca a write to part of a vector register depends on the rest. CPUs clear the rest.
        if mnemonic in ("ldr", "ldur"):
            operands = re.sub(r"^[bhsd](?=\d)", "q", operands)
        elif mnemonic == "fmov" and re.fullmatch(r"d\d+, x\d+", operands):
            mnemonic, operands = "dup", re.sub(r"d(\d+)", r"v\1.2d", operands)
        lines.append(f"{mnemonic} {operands}")
    return "\n".join(lines) + "\n"


def cycles(tool, cpu, text):
    """Cycles of one round of the loop."""
    command = [tool, "-mtriple=aarch64-linux-gnu", f"-mcpu={cpu}", f"-iterations={ROUNDS}"]
    run = subprocess.run(command, input=text, capture_output=True, text=True)
    found = re.search(r"Total Cycles: +(\d+)", run.stdout)
    if not found:
        sys.exit(f"{tool}: {run.stderr[:2000]}")
    return int(found[1]) / ROUNDS


def find_tool():
    names = [os.environ.get("LLVM_MCA"), *(f"llvm-mca-{n}" for n in range(25, 18, -1)), "llvm-mca"]
    tool = next((name for name in names if name and shutil.which(name)), None)
    return tool or sys.exit("llvm-mca is missing")


if __name__ == "__main__":
    tool = find_tool()
    print(f"{'function':50} {'instr':>5} {'MAC':>5} {'instr/MAC':>9}"
          + "".join(f" {cpu + ' MAC/cycle':>14}" for cpu in CPUS))
    for name, loop in kernel_loops(sys.argv[1]):
        wanted = not sys.argv[2:] or any(part in name for part in sys.argv[2:])
        products = sum(PRODUCTS.get(mnemonic, 0) for _, mnemonic, _ in loop)
        if wanted and products:
            text = assembly(loop)
            rates = [products / cycles(tool, cpu, text) for cpu in CPUS.values()]
            print(f"{name:50} {len(loop):5} {products:5} {len(loop) / products:9.3f}"
                  + "".join(f" {rate:14.2f}" for rate in rates))
