#!/usr/bin/env python3
"""What the project is made of besides its own code, against deny.toml and ARCHITECTURE.md.

    supply.py

- Of all packages in Cargo.lock: the licence is one of those allowed, the source is the registry, and there is one
  version of each, but for those that deny.toml skips with a reason. No version of the project's own is a wildcard.
- Of the core's crates, with the standard library and without: their dependencies are exactly those of the table in
  ARCHITECTURE.md ("Dependencies of the core"), and so is what runs while they are built.
- Advisories are `cargo deny`'s, where it is installed and reaches its database; else they are NOT CHECKED, and a
  line says so.
"""
import collections
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORE = ["kernels", "formats", "runtime", "capi"]


def cargo(*arguments):
    command = ["cargo", *arguments, "--locked"]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def licence_is_allowed(text, allowed):
    """An SPDX expression: AND binds closer than OR; before it had a name, `/` was OR."""
    tokens = re.findall(r"[()]|[\w.+-]+(?: WITH [\w.-]+)?", text.replace("/", " OR "))

    def either():
        value = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            value = both() or value
        return value

    def both():
        value = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            value = one() and value
        return value

    def one():
        token = tokens.pop(0)
        if token != "(":
            return token in allowed
        value = either()
        tokens.pop(0)
        return value

    return either()


def check_packages(packages, rules):
    """What is wrong with single packages, and with two of one name."""
    allowed = set(rules["licenses"]["allow"])
    others = [package for package in packages if package["source"]]
    for package in others:
        name = f"{package['name']} {package['version']}"
        if not package["license"] or not licence_is_allowed(package["license"], allowed):
            yield f"{name}: its licence, {package['license']}, is not allowed"
        if not package["source"].startswith("registry+"):
            yield f"{name}: it does not come from the registry"
    if len({package["source"] for package in others}) > 1:
        yield "there is more than one registry"
    for package in packages:
        for needed in package["dependencies"] if not package["source"] else []:
            if needed["req"] == "*" and "path" not in needed:
                yield f"{package['name']}: any version of {needed['name']} would do"
    skipped = {skip["crate"] for skip in rules["bans"]["skip"]}
    versions = collections.defaultdict(set)
    for package in others:
        versions[package["name"]].add(f"{package['name']}@{package['version']}")
    for name, found in versions.items():
        if len(found - skipped) > 1:
            yield f"{name}: more than one version: {', '.join(sorted(found))}"
    for skip in sorted(skipped - set().union(*versions.values())):
        yield f"deny.toml skips {skip}, which is not there"


def table():
    """{package: (crate, feature, what it runs while the crate is built)} of ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    section = text.split("\n## Dependencies of the core\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line[:1] == "|"]
    return {
        name.strip("`"): (crate.strip("`"), feature, built)
        for name, crate, feature, built, reason in rows[2:]
        if reason
    }


def check_core(packages, expected):
    """What is wrong with the dependencies of the core's crates. Each has those of the crates below it."""
    built = collections.defaultdict(set)
    kinds = {"custom-build": "script", "proc-macro": "macro"}
    for package in packages:
        for target in package["targets"]:
            built[package["name"]] |= {kinds[kind] for kind in target["kind"] if kind in kinds}
    for level, crate in enumerate(CORE):
        below = CORE[: level + 1]
        for feature in ["", "std"]:
            arguments = ["--no-default-features", "--features", feature]
            tree = cargo("tree", "-p", f"mote-{crate}", *arguments, "-e", "normal,build", "--target", "all",
                         "--prefix", "none", "--format", "{p}")
            found = {line.split()[0] for line in tree.splitlines() if line}
            found = {name for name in found if not name.startswith("mote-")}
            wanted = {name for name, (whose, when, _) in expected.items() if whose in below and when in ["", feature]}
            what = f"mote-{crate}, {feature or 'no features'}"
            for name in sorted(found - wanted):
                yield f"{what}: {name} is not in ARCHITECTURE.md's table: what is it for?"
            for name in sorted(wanted - found):
                yield f"{what}: {name} is in ARCHITECTURE.md's table, and not there"
            for name in sorted(found & wanted):
                if " ".join(sorted(built[name])) != expected[name][2]:
                    yield f"{name}: runs {' and '.join(built[name]) or 'nothing'} while it is built"


def check_advisories():
    """By cargo-deny, where it can."""
    if not shutil.which("cargo-deny"):
        print("supply: advisories NOT CHECKED: cargo-deny is not installed")
        return
    result = subprocess.run(["cargo", "deny", "check", "advisories"], cwd=ROOT, capture_output=True, text=True)
    if "failed to fetch" in result.stderr:
        print("supply: advisories NOT CHECKED: cargo-deny does not reach its database")
    elif result.returncode:
        yield f"cargo deny check advisories:\n{result.stderr}"


def main():
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    packages = json.loads(cargo("metadata", "--format-version", "1"))["packages"]
    expected = table()
    wrong = [
        *check_packages(packages, rules),
        *dict.fromkeys(check_core(packages, expected)),
        *check_advisories(),
    ]
    for sentence in wrong:
        print(f"supply: {sentence}")
    if wrong:
        sys.exit(f"supply: {len(wrong)} things are wrong")
    print(f"supply: {len(packages)} packages, {len(expected)} of them in the core")
    print(f"test result: ok. {len(packages) + 2 * len(CORE)} passed; 0 failed;")


if __name__ == "__main__":
    main()
