#!/usr/bin/env python3
"""Tests the releases of tools/release.sh under qemu's user emulation.

    release.py MOTE OUT MODEL [REAL_MODEL]

MOTE is the desktop's. For each release in OUT: mote is static, runs, and its logits of MODEL (a fixture)
and of REAL_MODEL are the same bits; a C program with its libmote prints the same, static and shared;
segments can be mapped with pages of 16 KiB, where the kernel's pages may be so large; a file that is
too large for the address space is refused by a sentence.
"""
import json
import os
import re
import subprocess
import sys

# The emulator, and where the C compiler for the target is.
MACHINES = {
    "aarch64-unknown-linux-gnu": ("qemu-aarch64-static", "aarch64-linux-gnu"),
    "armv7-unknown-linux-gnueabihf": ("qemu-arm-static", "arm-linux-gnueabihf"),
}
PROMPT = "The capital of France is"
passed = failed = 0


def check(good, what):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print(f"{'ok' if good else 'FAILED'}: {what}", flush=True)


def output(*command):
    return subprocess.run(command, check=True, capture_output=True).stdout


def score(*command, model):
    """The hash of the logits."""
    return json.loads(output(*command, "score", "-m", model, "-p", PROMPT, "--hash", "--json"))["hash"]


def text(*command, model):
    """What it writes on, and its tokens."""
    written = json.loads(output(*command, "run", "-m", model, "-n", "20", "--json", PROMPT))
    return written["text"], written["ids"]


def segments(readelf, file):
    """The alignments of what is mapped."""
    table = output(readelf, "-lW", file).decode()
    return [int(line.split()[-1], 16) for line in table.splitlines() if line.split()[:1] == ["LOAD"]]


def test_mote(desktop, emulator, release, models):
    mote = f"{release}/bin/mote"
    headers = output("readelf", "-lW", mote).decode()
    check("INTERP" not in headers, f"{mote} is static")
    for model in models:
        expected = score(desktop, model=model)
        check(score(emulator, mote, model=model) == expected, f"{model}: {expected}")
    check(text(emulator, mote, model=models[0]) == text(desktop, model=models[0]), "the same text")
    if "aarch64" in release:
        for file in (mote, f"{release}/lib/libmote.so.0"):
            aligned = all(alignment % 0x4000 == 0 for alignment in segments("readelf", file))
            check(aligned, f"{file} can be mapped with pages of 16 KiB")
        hash_ = score(emulator, "-p", "16384", mote, model=models[0])
        check(hash_ == score(desktop, model=models[0]), "pages of 16 KiB")


def test_libmote(emulator, compiler, release, model, complete):
    """complete.c, static and shared."""
    program, texts = f"{release}/complete", []
    sysroot = f"/usr/{compiler}"
    private = re.search("^Libs.private: (.*)$", open(f"{release}/lib/pkgconfig/mote.pc").read(), re.M)
    for library in ([f"{release}/lib/libmote.a", *private[1].split()], [f"-L{release}/lib", "-lmote"]):
        output(f"{compiler}-gcc", "-std=c99", f"-I{release}/include", "-o", program, complete, *library)
        environment = ["-E", f"LD_LIBRARY_PATH={release}/lib", "-L", sysroot]
        texts.append(output(emulator, *environment, program, model, PROMPT))
    os.remove(program)
    check(texts[0] and texts[0] == texts[1], "complete.c, static and shared")


def test_too_large(emulator, release):
    """Files that a 32-bit address space cannot hold, or just so, are refused by one sentence."""
    file = f"{release}/large.gguf"
    addressed = "more than this machine can address"
    for size, sentence in ((5 << 30, addressed), (2 << 30, addressed), ((2 << 30) - 1, "large.gguf")):
        with open(file, "wb") as sparse:
            sparse.write(b"GGUF")
            sparse.truncate(size)
        command = [emulator, f"{release}/bin/mote", "inspect", file]
        done = subprocess.run(command, capture_output=True, text=True)
        refused = done.returncode in (1, 4) and sentence in done.stderr
        refused = refused and done.stderr.count("\n") == 1
        check(refused, f"{size} bytes, exit {done.returncode}: {done.stderr.strip()}")
    os.remove(file)


def main(desktop, out, *models):
    releases = [entry.path for entry in os.scandir(out) if entry.is_dir()]
    for release in sorted(releases):
        emulator, compiler = next(MACHINES[name] for name in MACHINES if release.endswith(name))
        print(release)
        test_mote(desktop, emulator, release, models)
        test_libmote(emulator, compiler, release, models[0], "runtime/capi/examples/complete.c")
        if "armv7" in release:
            test_too_large(emulator, release)
    check(len(releases) > 0, f"{len(releases)} releases")
    print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed;")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main(*sys.argv[1:])
