#!/usr/bin/env python3
"""Compares what a board printed (runtime/examples) with the desktop's mote.

    same_as_desktop.py MOTE MODEL OUTPUT

MOTE scores and continues the prompt that the board's OUTPUT names. Another hash of the logits, another
text or another number of tokens is exit code 1.
"""
import json
import re
import subprocess
import sys


def run(*command):
    """What a command of mote prints as JSON."""
    result = subprocess.run([*command, "--json"], check=True, stdout=subprocess.PIPE)
    return json.loads(result.stdout)


def main(mote, model, output):
    with open(output, encoding="utf-8", newline="") as file:
        printed = file.read()
    pattern = (
        r"^prompt    (?P<prompt>.*)\nlogits    (?P<hash>[0-9a-f]{32}) .*\n"
        r"text      (?P<text>(?s:.*))\ntokens    (?P<tokens>\d+) written, end: (?P<stop>\w+)$"
    )
    board = re.search(pattern, printed, re.M)
    if not board:
        sys.exit(f"{output}: not what an example prints:\n{printed}")
    prompt, tokens = board["prompt"], board["tokens"]
    score = run(mote, "score", "-m", model, "-p", prompt, "--hash")
    written = run(mote, "run", "-m", model, "--kv", "f32", "-n", tokens, prompt)
    desktop = {
        "hash": score["hash"],
        "text": written["text"],
        "tokens": str(len(written["ids"])),
        "stop": written["stop"],
    }
    different = [name for name, value in desktop.items() if board[name] != value]
    for name, value in desktop.items():
        word = "DIFFERENT" if name in different else "same"
        print(f"{name}: board {board[name]!r}, desktop {value!r}: {word}")
    # As cargo says it, so that ci.sh counts it.
    print(f"test result: {'FAILED' if different else 'ok'}. {len(desktop) - len(different)} passed; {len(different)} failed;")
    sys.exit(bool(different))


if __name__ == "__main__":
    main(*sys.argv[1:])
