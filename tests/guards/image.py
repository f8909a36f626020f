#!/usr/bin/env python3
"""The Cortex-M example's image, without its model: bytes in flash, and what is left of panics.

    image.py IMAGE MODEL [--update]

Compares with image.txt beside this file: a figure above its own by more than its tolerance is exit
code 1. --update writes the figures anew. RUSTC names the compiler that made the image; another one
than the table's: says so, exit code 0.

- code_bytes: sections that are loaded, the model's bytes not counted.
- core::...: each function of the core library that only a panic calls, such as a bounds check's. The
  image's handler shows no message, so each of them is a jump to the same few instructions. The
  table is the list of those that may be there: a new one is worse.
- panic_places: names of source files, which are in an image only where a panic would tell its place.
"""
import pathlib
import re
import subprocess
import sys

from common import Table, compiler

PANICS = re.compile(
    r"core::(panicking::|option::(unwrap|expect)_failed|result::unwrap_failed|cell::panic_"
    r"|slice::(index::slice_|copy_from_slice)|str::slice_error_fail)|_fail(ed)?\b"
)


def sections(image):
    """(name, bytes) of the sections that are loaded into flash."""
    text = subprocess.run(
        ["readelf", "-SW", image], check=True, capture_output=True, text=True
    ).stdout
    pattern = r"\]\s+(\S+)\s+PROGBITS\s+\S+\s+(\S+)\s+(\S+)\s+\S+\s+(\w*A\w*)\s"
    for name, offset, size, _ in re.findall(pattern, text):
        yield name, int(offset, 16), int(size, 16)


def functions(image):
    """Names of functions."""
    command = ["readelf", "-sW", "--demangle=rust", image]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"\sFUNC\s+\w+\s+\w+\s+\S+\s+(.+)$", text, re.M))


def measure(image, model):
    """{"cortex-m figure": [value]}"""
    data, weights = pathlib.Path(image).read_bytes(), pathlib.Path(model).read_bytes()
    loaded = [data[offset : offset + size] for _, offset, size in sections(image)]
    rest = b"".join(loaded).replace(weights, b"")
    places = set(re.findall(rb"[\w./-]+\.rs\b", rest))
    for place in sorted(places):
        print(f"image: {place.decode()}")
    figures = {"code_bytes": len(rest), "panic_places": len(places)}
    # Instances of a generic function are one.
    names = [name.split("::<")[0] for name in functions(image) if PANICS.search(name)]
    figures.update({name: 1 for name in names})
    return {f"cortex-m {name}": [value] for name, value in figures.items()}


def compare(table, measured):
    """Sentences on what is worse, and on what is better, than the table."""
    worse, better = [], []
    for key in sorted(table.keys() | measured.keys()):
        (new, tolerance), (old, *_) = measured.get(key, [0, 0]), table.get(key, [0])
        if new > old * (1 + tolerance):
            worse.append(f"{key}: {new}, was {old:.0f}")
        elif new < old * (1 - tolerance):
            better.append(f"{key}: {new}, was {old:.0f}")
    return worse, better


def main(image, model, *options):
    table = Table("image.txt", "image figure value tolerance", 2, "bare-metal")
    measured = measure(image, model)
    for key, value in measured.items():
        # A new figure has no tolerance until somebody writes one into the table.
        value.append(table.lines.get(key, [0, 0.0])[1])
        print(f"image: {key}: {value[0]}")
    table.finish(measured, compare, "--update" in options, compiler())


if __name__ == "__main__":
    main(*sys.argv[1:])
