#!/usr/bin/env python3
"""Instructions and spills in the loops of the SIMD kernels, from the disassembly of a release binary.

    loops.py BINARY [--update]     a binary for x86-64 (loops.txt) or aarch64 (loops-aarch64.txt)

Looks at the innermost loops that multiply and add (natural loops of the control flow graph, so the
order of blocks does not matter), for every kernel function and every kind of product, and compares
with loops.txt beside this file. More instructions for each product (the worst loop, and the mean),
more vector instructions that touch the stack frame (spills) or more calls than there: exit code 1.
--update writes the table instead. Another compiler than the table's: says so, exit code 0.
"""
import re
import subprocess
import sys

from common import Table, compiler


class X86:
    table, objdump = "loops.txt", ["objdump", "-M", "intel"]
    # The first of these that a loop contains is its product.
    products = ["vpdpbusd", "vpdpwssd", "vpmaddubsw", "vpmaddwd", "vfmadd"]
    jump, call = re.compile(r"j\w+"), "call"
    ends = ("jmp", "ret", "ud2")
    # A plain place in the frame; with an index register it is an array.
    frame = re.compile(r"\[(?:rsp|rbp)(?:[+-]0x[0-9a-f]+)?\]")
    vector = re.compile(r"\b[xyz]mm\d")


class Arm:
    table, objdump = "loops-aarch64.txt", ["aarch64-linux-gnu-objdump"]
    products = ["sdot", "smmla", "smull", "smlal", "fmla"]
    jump, call = re.compile(r"b|b\.\w+|cbn?z|tbn?z"), "bl"
    ends = ("b", "ret", "udf", "br")
    frame = re.compile(r"\[(?:sp|x29)(?:, #-?\w+)?\]")
    vector = re.compile(r"\b[qvd]\d")


def machine(binary):
    """What the ELF header says: 62 is x86-64, 183 is aarch64."""
    with open(binary, "rb") as file:
        return {62: X86, 183: Arm}[int.from_bytes(file.read(20)[18:], "little")]


# Ratios are exact for a given compiler; this absorbs rounding in the table.
TOLERANCE = 0.002

FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
INSTRUCTION = re.compile(r"^ *([0-9a-f]+):\t(\S+)\s*(.*)$")
KERNEL = re.compile(r"mote_kernels::arch::\w+::(\w+::)")


def functions(binary):
    """(name, [(address, mnemonic, operands)]) of every kernel function."""
    command = [*machine(binary).objdump, "-d", "--no-show-raw-insn", "-C", binary]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    name, code = None, []
    for line in listing.splitlines():
        if head := FUNCTION.match(line):
            if name:
                yield name, code
            name, code = (short(head[1]) if KERNEL.search(head[1]) else None), []
        elif name and (found := INSTRUCTION.match(line)):
            code.append((int(found[1], 16), found[2], found[3]))
    if name:
        yield name, code


def short(symbol):
    """Without paths that say nothing: avx2::gemv::gemv::<Q4_0>."""
    symbol = re.sub(r"mote_kernels::arch::\w+::", "", symbol)
    symbol = re.sub(r"(?:\w+::)+(?=\w+[,>])", "", symbol)
    return re.sub(r"\s+|\.llvm\.\d+", "", symbol)


def blocks(code, cpu):
    """Basic blocks as (first, end) indices into `code`, and each block's successors."""
    index = {address: i for i, (address, _, _) in enumerate(code)}
    targets, leaders = {}, {0}
    for i, (_, mnemonic, operands) in enumerate(code):
        jumps = cpu.jump.fullmatch(mnemonic)
        if jumps or mnemonic in cpu.ends:
            leaders.add(i + 1)
            target = re.search(r"(?:^|, )([0-9a-f]+)(?: |$)", operands)
            if jumps and target and int(target[1], 16) in index:
                targets[i] = index[int(target[1], 16)]
                leaders.add(targets[i])
    starts = sorted(leader for leader in leaders if leader < len(code))
    number = {start: block for block, start in enumerate(starts)}
    spans = list(zip(starts, starts[1:] + [len(code)]))
    successors = []
    for _, end in spans:
        mnemonic = code[end - 1][1]
        after = [number[targets[end - 1]]] if end - 1 in targets else []
        if mnemonic not in cpu.ends and end in number:
            after.append(number[end])
        successors.append(after)
    return spans, successors


def dominators(successors):
    """Each block's immediate dominator (Cooper, Harvey and Kennedy 2001), and the predecessors."""
    order, seen, stack = [], {0}, [(0, iter(successors[0]))]
    while stack:
        block, rest = stack[-1]
        after = next((s for s in rest if s not in seen), None)
        if after is None:
            order.append(block)
            stack.pop()
        else:
            seen.add(after)
            stack.append((after, iter(successors[after])))
    rank = {block: i for i, block in enumerate(order)}
    before = {block: [] for block in order}
    for block in order:
        for after in successors[block]:
            before[after].append(block)
    idom, changed = {0: 0}, True
    while changed:
        changed = False
        for block in reversed(order[:-1]):
            new = None
            for other in before[block]:
                if other in idom:
                    new = other if new is None else meet(idom, rank, new, other)
            if idom.get(block) != new:
                idom[block], changed = new, True
    return idom, before


def meet(idom, rank, a, b):
    while a != b:
        if rank[a] < rank[b]:
            a = idom[a]
        else:
            b = idom[b]
    return a


def innermost_loops(successors):
    """The sets of blocks of the natural loops that contain no other loop."""
    idom, before = dominators(successors)
    loops = {}
    for block in idom:
        for head in successors[block]:
            dominator = block
            while dominator not in (head, 0):
                dominator = idom[dominator]
            if dominator == head:
                body = loops.setdefault(head, {head})
                todo = [block]
                while todo:
                    inside = todo.pop()
                    if inside not in body:
                        body.add(inside)
                        todo += before[inside]
    for head, body in loops.items():
        if not any(other != head and other in body for other in loops):
            yield body


def kernel_loops(binary):
    """(function, instructions) of every innermost loop of every kernel function."""
    for name, code in functions(binary):
        spans, successors = blocks(code, machine(binary))
        for body in innermost_loops(successors):
            yield name, [code[i] for block in sorted(body) for i in range(*spans[block])]


def measure(binary):
    """{"function product": [loops, worst and mean instructions for a product, spills, calls]}"""
    sums, cpu = {}, machine(binary)
    for name, inside in kernel_loops(binary):
        names = [mnemonic for _, mnemonic, _ in inside]
        product = next((p for p in cpu.products if any(n.startswith(p) for n in names)), None)
        if product:
            products = sum(n.startswith(product) for n in names)
            spills = sum(bool(cpu.frame.search(o) and cpu.vector.search(o)) for _, _, o in inside)
            loop = (len(inside), products, spills, names.count(cpu.call))
            sums.setdefault(f"{name} {product}", []).append(loop)
    table = {}
    for key, loops in sums.items():
        lengths, products, spills, calls = zip(*loops)
        worst = max(length / n for length, n, _, _ in loops)
        mean = sum(lengths) / sum(products)
        table[key] = [len(loops), round(worst, 3), round(mean, 3), sum(spills), sum(calls)]
    return table


COLUMNS = ["loops", "worst", "mean", "spills", "calls"]


def compare(table, measured):
    """Sentences on what is worse, and on what is better, than the table."""
    worse, better = [], []
    for key in sorted(table.keys() | measured.keys()):
        if key not in measured:
            worse.append(f"{key}: no such loop any more")
            continue
        # What is new must not spill.
        known = table.get(key, [0, float("inf"), float("inf"), 0, 0])
        for column, old, new in list(zip(COLUMNS, known, measured[key]))[1:]:
            if new > old * (1 + TOLERANCE):
                worse.append(f"{key}: {column} {new}, was {old}")
            elif new < old * (1 - TOLERANCE) and key in table:
                better.append(f"{key}: {column} {new}, was {old}")
        if key not in table:
            better.append(f"{key}: new")
    return worse, better


if __name__ == "__main__":
    table = Table(machine(sys.argv[1]).table, "function product " + " ".join(COLUMNS), 2)
    measured = measure(sys.argv[1])
    if not measured:
        sys.exit("no kernel loops found; are the symbols there? (RUSTFLAGS hides .cargo/config.toml)")
    table.finish(measured, compare, "--update" in sys.argv[2:], compiler())
