#!/usr/bin/env python3
"""A text of some fifty million words, one sentence a line, from Debian's documentation packages.

usage: tests/corpus/debian.py FOLDER

Downloads the packages with apt-get (no root needed) and writes FOLDER/all.txt, FOLDER/train.txt (every
third line) and FOLDER/test.txt (every thirtieth, none of them in train.txt). BENCHMARKS.md measures
n-gram models on it. Versions differ from one Debian release to the next, and so does the text.
"""
import gzip
import html
import os
import re
import subprocess
import sys

PACKAGES = """linux-doc-6.1 python3-doc perl-doc postgresql-doc-15 openjdk-17-doc debian-reference-en
debian-handbook developers-reference libboost1.74-doc libreoffice-help-en-us erlang-doc octave-doc
maxima-doc r-doc-html sqlite3-doc git-doc gimp-help-en rust-doc python-scipy-doc python-django-doc
qtbase5-doc-html ghc-doc gnuplot-doc vim-doc nodejs-doc libgtk-3-doc python-sympy-doc
python-pandas-doc""".split()

NOT_TEXT = re.compile(r"(?s)<(script|style).*?</\1>|<!--.*?-->")
PARAGRAPH = re.compile(r"</?(p|div|li|h\d|tr|td|pre|br|dt|dd)[^>]*>")
TAG = re.compile(r"<[^>]+>")
SENTENCE = re.compile(r"(?<=[.!?])\s+")
PUNCTUATION = re.compile(r'([,.;:!?()"\[\]{}=<>/])')


def unpack(folder):
    for name in PACKAGES:
        target = os.path.join(folder, "packages", name)
        if os.path.isdir(target):
            continue
        before = set(os.listdir(folder))
        if subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", name], cwd=folder).returncode != 0:
            print(f"{name}: not to be had, left out", file=sys.stderr)
            continue
        (package,) = set(os.listdir(folder)) - before
        subprocess.run(["dpkg-deb", "-x", package, target], cwd=folder, check=True)
        os.remove(os.path.join(folder, package))


def documents(folder):
    for root, folders, files in os.walk(os.path.join(folder, "packages")):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(root, name)
            plain = name.removesuffix(".gz")
            if os.path.islink(path) or not plain.endswith((".html", ".htm", ".txt", ".rst")):
                continue
            with gzip.open(path) if name != plain else open(path, "rb") as file:
                text = file.read().decode("utf-8", "ignore")
            if plain.endswith((".html", ".htm")):
                text = PARAGRAPH.sub("\n\n", NOT_TEXT.sub(" ", text))
                text = html.unescape(TAG.sub("", text))
            yield text


def sentences(folder):
    seen = set()
    for text in documents(folder):
        for paragraph in re.split(r"\n\s*\n", text):
            for sentence in SENTENCE.split(" ".join(paragraph.split())):
                words = PUNCTUATION.sub(r" \1 ", sentence).split()
                line = " ".join(words)
                if 4 <= len(words) < 1000 and line not in seen:
                    seen.add(line)
                    yield line


def main():
    folder = sys.argv[1]
    os.makedirs(os.path.join(folder, "packages"), exist_ok=True)
    unpack(folder)
    words = 0
    with (
        open(os.path.join(folder, "all.txt"), "w") as everything,
        open(os.path.join(folder, "train.txt"), "w") as train,
        open(os.path.join(folder, "test.txt"), "w") as test,
    ):
        for number, line in enumerate(sentences(folder)):
            words += line.count(" ") + 1
            print(line, file=everything)
            if number % 3 == 0:
                print(line, file=train)
            elif number % 30 == 1:
                print(line, file=test)
    print(f"{words} words", file=sys.stderr)


main()
