#!/usr/bin/env python3
"""What the binary `mote` weighs without symbols.

    size.py MOTE [SMALL]

MOTE has all features, built by --profile dist as users get it; SMALL was built by --profile small
--no-default-features. One above its limit is exit code 1. Where symbols were kept (CARGO_PROFILE_DIST_STRIP=false),
what weighs most in it is named: bytes of code and data by crate.
"""
import collections
import os
import re
import subprocess
import sys
import tempfile

# Bytes.
LIMITS = (10_000_000, 2_500_000)

# Crates that are named.
MOST = 15


def stripped(binary):
    """Bytes of the file without symbols."""
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "stripped")
        subprocess.run(["strip", "-o", file, binary], check=True)
        return os.path.getsize(file)


def crates(binary):
    """(bytes, crate), the largest first."""
    command = ["nm", "--demangle", "--print-size", "--size-sort", binary]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    sizes = collections.Counter()
    for line in text.splitlines():
        _, size, _, name = line.split(None, 3)
        # "<crate::Type as other::Trait>::function", "crate::function", or no path at all.
        crate = re.match(r"[<&(\[*]*(?:mut |const |dyn )*(\w+)(?:\[\w+\])?::", name)
        sizes[crate[1] if crate else "(others)"] += int(size, 16)
    return [(size, crate) for crate, size in sizes.most_common(MOST)]


def main(*binaries):
    heavy = 0
    for binary, limit in zip(binaries, LIMITS, strict=False):
        size = stripped(binary)
        print(f"size: {binary}: {size} bytes stripped, at most {limit}")
        if size > limit:
            heavy += 1
            print(f"size: {binary}: TOO LARGE")
            for part, crate in crates(binary):
                print(f"size: {part:>9} {crate}")
    sys.exit(bool(heavy))


if __name__ == "__main__":
    main(*sys.argv[1:])
