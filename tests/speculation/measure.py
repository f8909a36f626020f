#!/usr/bin/env python3
"""How much faster speculation writes: decoding with and without, in turns, of the prompts beside this file.

usage: measure.py MODEL [--mote PROGRAM] [--rounds N] [--tokens N] [--how HOW] [--only GROUP] [-- OPTIONS OF MOTE RUN]

Prints a table in Markdown: median tokens per second without drafts and with them, the ratio, and
what was drafted. Fails if a text is not the same with drafts and without.
"""
import argparse
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
COPIES = ["edit", "grammar", "summarise", "quote", "code", "getters", "format"]
PROSE = ["story", "essay", "explain"]


def write(options, prompt, temperature, how):
    command = [options.mote, "run", "-m", options.model, "-f", HERE / f"{prompt}.txt", "--special"]
    command += ["-n", str(options.tokens), "--temp", temperature, "--speculate", how, "--json"]
    run = subprocess.run(command + options.rest, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if run.returncode != 0:
        sys.exit(f"{prompt}: mote failed")
    return json.loads(run.stdout)


def measure(options, prompt, temperature):
    """Speeds without and with drafts, and the last report with."""
    speeds = {"off": [], options.how: []}
    for _ in range(options.rounds):
        reports = {how: write(options, prompt, temperature, how) for how in speeds}
        for how, report in reports.items():
            speeds[how].append(report["timings"]["decode_tokens_per_second"])
        plain, drafted = reports.values()
        if plain["ids"] != drafted["ids"] or plain["text"] != drafted["text"]:
            sys.exit(f"{prompt} at temperature {temperature}: another text with drafts")
    return [statistics.median(times) for times in speeds.values()], drafted


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--mote", default="target/release/mote")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--how", default="lookup")
    parser.add_argument("--only", choices=["copying", "prose"])
    own, rest = sys.argv[1:], []
    if "--" in own:
        own, rest = own[: own.index("--")], own[own.index("--") + 1 :]
    options = parser.parse_args(own, argparse.Namespace(rest=rest))
    print("| prompt | temperature | tokens | without | with | ratio | accepted / drafted |")
    print("|---|---|---|---|---|---|---|")
    for group, prompts in (("copying", COPIES), ("prose", PROSE)):
        if options.only not in (None, group):
            continue
        for temperature in ("0", "0.8"):
            ratios = []
            for prompt in prompts:
                (without, with_drafts), report = measure(options, prompt, temperature)
                ratios.append(with_drafts / without)
                drafts = report["speculation"]
                print(f"| {prompt} | {temperature} | {len(report['ids'])} | {without:.0f}"
                      f" | {with_drafts:.0f} | {ratios[-1]:.2f}"
                      f" | {drafts['accepted']} / {drafts['drafted']} |", flush=True)
            mean = math.exp(statistics.fmean(map(math.log, ratios)))
            print(f"| {group}, mean | {temperature} | | | | {mean:.2f} | |", flush=True)


if __name__ == "__main__":
    main()
