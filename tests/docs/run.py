"""Runs what the README and the pages of docs/ print, as a reader would: from a fresh clone, page by page.

usage: tests/docs/run.py FOLDER [PAGE...]    FOLDER is made anew; mote must be built (target/release)

A fenced block whose language is followed by a file's name is written to that file:    ```c hello/hello.c
A block of `sh` is run by bash in the clone's root; the first command that fails ends the page. What
needs another machine or somebody's checkpoint is marked, and only looked at:            ```sh elsewhere
A reader has a text: text.txt and test.txt are there.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\S+)[ \t]*(\S*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def blocks(page):
    """Language, what follows it, and the text of each fenced block."""
    return FENCE.findall(page.read_text())


def heading_anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def dead_links(page):
    """Links of a page to files or headings that are not there."""
    for path, anchor in LINK.findall(page.read_text()):
        target = (page.parent / path).resolve()
        if not target.exists():
            yield path
        elif anchor and target.suffix == ".md" and anchor[1:] not in heading_anchors(target):
            yield path + anchor


def clone(folder):
    """The commit and what has been changed since, in a folder of its own, with what has been built and
    fetched."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    for name in filter(None, names):
        source = ROOT / name
        if source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
    for model in (ROOT / "models").glob("*.gguf"):
        if not (folder / "models" / model.name).exists():
            os.symlink(model.resolve(), folder / "models" / model.name)
    prose = [ROOT / name for name in ("ARCHITECTURE.md", "kernels/NUMERICS.md", "BENCHMARKS.md")]
    (folder / "text.txt").write_text("".join(page.read_text() for page in prose))
    (folder / "test.txt").write_text((ROOT / "README.md").read_text())


def run(page, folder):
    """Runs a page's blocks; the number of blocks run, or None after a failure."""
    clone(folder)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
    environment = dict(os.environ, CARGO_TARGET_DIR=str(target), NO_COLOR="1")
    environment["PATH"] = f"{target / 'release'}:{environment['PATH']}"
    count = 0
    for language, word, text in blocks(page):
        if "." in word:
            path = folder / word
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif language == "sh" and word != "elsewhere":
            start = time.monotonic()
            result = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=folder,
                                    env=environment, stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if result.returncode != 0:
                print(text + result.stdout.decode(errors="replace"))
                print(f"FAILED: {page.relative_to(ROOT)}, exit code {result.returncode}")
                return None
            count += 1
            print(f"  {time.monotonic() - start:5.1f} s  {text.strip().splitlines()[0]}")
    return count


def main():
    folder = Path(sys.argv[1]).resolve()
    pages = [ROOT / name for name in sys.argv[2:]]
    pages = pages or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    passed = failed = 0
    for page in pages:
        print(page.relative_to(ROOT))
        dead = sorted(set(dead_links(page)))
        for link in dead:
            print(f"FAILED: {page.relative_to(ROOT)}: nothing is at {link}")
        count = run(page, folder)
        passed += count or 0
        failed += len(dead) + (count is None)
    print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed;")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
