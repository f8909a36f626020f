"""tools/spark/ngram_counts.py against counts made in a few lines, and against `mote ngram train`.

    python3 tests/spark/ngram_counts.py MOTE [TEXT]

Needs pyspark and Java. Everything runs in this process's own Spark, on two threads. TEXT: one more text
to be compared.
"""

import gzip
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "spark"))

import ngram_counts  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

SENTENCES = [
    b"the mouse ate the cheese",
    b"the cat ate the mouse",
    b"",
    b"  a dog\tsaw\rthe cat  ",
    b"the the the the the the",
    b"one",
    # Not UTF-8; bytes that are blanks elsewhere; what regular expressions take for something else.
    b"caf\xe9 \xff\xfe \xc2\xa0 a\x0bb a\x0cb $1 .* [x] \\n",
    "größe 日本語 größe".encode(),
]


def long_text(lines):
    """Frequent and rare words, always the same ones."""
    state, text = 1, []
    for _ in range(lines):
        words = []
        for _ in range(12):
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            x = (state >> 33) / 2**31
            words.append(b"w%d" % int(x * x * x * 400))
        text.append(b" ".join(words))
    return text


def expected(lines, order):
    """By the definition: {length: {n-gram: (count, adjusted count)}}."""
    counts, left = defaultdict(Counter), defaultdict(set)
    for line in lines:
        for blank in b"\t\r\0":
            line = line.replace(bytes([blank]), b" ")
        words = [b"<s>", *filter(None, line.split(b" ")), b"</s>"]
        for length in range(1, order + 1):
            for i in range(len(words) - length + 1):
                gram = b" ".join(words[i : i + length])
                if gram != b"<s>":
                    counts[length][gram] += 1
                    left[gram].add(words[i - 1] if i else None)
    own = lambda gram, length: length == order or gram.startswith(b"<s> ")
    return {
        length: {
            gram: (count, count if own(gram, length) else len(left[gram]))
            for gram, count in grams.items()
        }
        for length, grams in counts.items()
    }


def read(folder):
    """Lines of a folder's files in their order."""
    lines = []
    for name in sorted(os.listdir(folder)):
        if name.startswith(("_", ".")):
            continue
        with open(os.path.join(folder, name), "rb") as file:
            data = file.read()
        data = gzip.decompress(data) if name.endswith(".gz") else data
        lines += data.split(b"\n")[:-1]
    return lines


def check_counts(spark, folder, lines, order, compression):
    text = os.path.join(folder, "text.txt")
    with open(text, "wb") as file:
        file.write(b"".join(line + b"\n" for line in lines))
    out = os.path.join(folder, "counts")
    ngram_counts.count(spark, [text], out, order, compression=compression)
    wanted = expected(lines, order)
    for length in range(1, order + 1):
        found = read(os.path.join(out, f"{length}-grams"))
        split = [line.split(b"\t") for line in found]
        grams = {gram: (int(count), int(adjusted)) for gram, count, adjusted in split}
        assert len(grams) == len(found), f"{length}-grams: some stand there twice"
        assert grams == wanted.get(length, {}), f"order {order}, {length}-grams differ"
        order_of_file = [line[0] for line in split]
        assert order_of_file == sorted(order_of_file), f"{length}-grams are not sorted"
    return text, out


def check_models(mote, folder, text, counts, order):
    """The file of the counts is that of the text."""
    models = []
    for source in ([text], ["--counts", counts]):
        path = os.path.join(folder, f"model{len(models)}.gguf")
        command = [mote, "ngram", "train", "-n", str(order), "--force", "-o", path, *source]
        subprocess.run(command, check=True, capture_output=True)
        with open(path, "rb") as file:
            models.append(file.read())
    assert models[0] == models[1], f"order {order}: the models differ"


def check_symbols(spark, folder):
    text = os.path.join(folder, "symbols.txt")
    with open(text, "wb") as file:
        file.write(b"a <s> b\n")
    try:
        ngram_counts.count(spark, [text], os.path.join(folder, "refused"), 2)
    except Exception as error:
        assert "--skip-symbols" in str(error), error
    else:
        raise AssertionError("a text with <s> was accepted")
    out = os.path.join(folder, "skipped")
    ngram_counts.count(spark, [text], out, 2, skip_symbols=True)
    assert read(os.path.join(out, "2-grams")) == [b"<s> a\t1\t1", b"a b\t1\t1", b"b </s>\t1\t1"]


def main():
    mote, *texts = sys.argv[1:]
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "3")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("OFF")
    passed = 0
    cases = [(SENTENCES, 1), (SENTENCES, 2), (SENTENCES, 9), (long_text(3000), 3)]
    for path in texts:
        with open(path, "rb") as file:
            cases.append((file.read().split(b"\n")[:-1], 5))
    for lines, order in cases:
        with tempfile.TemporaryDirectory() as folder:
            compression = "gzip" if order == 2 else "none"
            text, counts = check_counts(spark, folder, lines, order, compression)
            check_models(mote, folder, text, counts, order)
            passed += 1
    with tempfile.TemporaryDirectory() as folder:
        check_symbols(spark, folder)
        passed += 1
    spark.stop()
    print(f"test result: ok. {passed} passed; 0 failed;")


if __name__ == "__main__":
    main()
