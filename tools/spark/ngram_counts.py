"""Counts the n-grams of a text that is too large for one machine, as a Spark job.

    spark-submit tools/spark/ngram_counts.py -n 5 -o COUNTS TEXT...
    mote ngram train -n 5 --counts COUNTS -o lm.gguf

The folder COUNTS gets the folders 1-grams to N-grams of text files, sorted over all of them. A line has
an n-gram's words with spaces between them, a tab, how often the text has it, a tab, and its adjusted
count: of the longest n-grams and of those that begin with <s> the same number, of the others how many
different words stand before them. `mote ngram train --counts` makes the same file of them, byte for byte,
as of the text.

A line of the text is a sentence, the last one too if it has no end. Words are bytes between spaces,
tabs, carriage returns and NULs.

Every position of a sentence gives one n-gram, as long as order and sentence allow; they are counted once,
on the workers first. The shorter ones follow from them without reading the text again: a k-gram is counted
with every (k+1)-gram that ends with it, and these differ in the word before it.
"""

import argparse

from pyspark import StorageLevel
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

BEGIN, END = "<s>", "</s>"
SYMBOLS = [BEGIN, END, "<unk>"]

# Texts are bytes, not always UTF-8: in this encoding each is a character, in their order.
BYTES = "ISO-8859-1"


def sentences(lines, skip_symbols):
    """Of lines, in the column `value`: the words of each, with the marks of its ends, as `words`."""
    text = F.decode(F.col("value").cast("binary"), BYTES)
    words = F.filter(F.split(text, "[ \\t\\r\\x00]"), lambda word: word != "")
    is_symbol = lambda word: word.isin(SYMBOLS)
    if skip_symbols:
        words = F.filter(words, lambda word: ~is_symbol(word))
    else:
        message = f"the text has one of {', '.join(SYMBOLS)}; --skip-symbols leaves them out"
        refused = F.raise_error(F.lit(message)).cast("array<string>")
        words = F.when(F.exists(words, is_symbol), refused).otherwise(words)
    return lines.select(F.concat(F.array(F.lit(BEGIN)), words, F.array(F.lit(END))).alias("words"))


def longest(sentences, order):
    """The longest n-gram that ends at each position but the first, and how often it comes: columns
    `gram`, `length` and `count`. Those that are shorter than `order` begin with <s>."""

    def gram(last):
        first = F.greatest(last - (order - 1), F.lit(0))
        words = F.slice(F.col("words"), first + 1, last - first + 1)
        return F.struct(F.concat_ws(" ", words).alias("gram"), F.size(words).alias("length"))

    positions = F.sequence(F.lit(1), F.size("words") - 1)
    grams = sentences.select(F.explode(F.transform(positions, gram)).alias("at"))
    return grams.groupBy("at.gram", "at.length").count()


def levels(counted, order):
    """Yields the n-grams of each length from `order` down to 1: columns `gram`, `count`, `adjusted`."""
    above = None
    for length in range(order, 0, -1):
        own = counted.where(F.col("length") == length)
        level = own.select("gram", "count", F.col("count").alias("adjusted"))
        if above is not None:
            suffix = F.expr("substring(gram, instr(gram, ' ') + 1)").alias("gram")
            level = level.union(above.select(suffix, "count", F.lit(1).alias("adjusted")))
            level = level.groupBy("gram").agg(
                F.sum("count").alias("count"), F.sum("adjusted").alias("adjusted")
            )
        level = level.persist(StorageLevel.MEMORY_AND_DISK)
        yield length, level
        if above is not None:
            above.unpersist()
        above = level


def write(level, folder, compression):
    """Writes n-grams in order."""
    fields = [F.col(name).cast("string") for name in ("gram", "count", "adjusted")]
    line = F.encode(F.concat_ws("\t", *fields), BYTES).cast("string")
    level.orderBy("gram").select(line.alias("value")).write.text(folder, compression=compression)


def count(spark, inputs, folder, order, skip_symbols=False, compression="none"):
    """The whole job: texts in, folders of counts out."""
    lines = spark.read.option("lineSep", "\n").text(inputs)
    counted = longest(sentences(lines, skip_symbols), order).persist(StorageLevel.MEMORY_AND_DISK)
    for length, level in levels(counted, order):
        write(level, f"{folder}/{length}-grams", compression)
    counted.unpersist()


def main():
    parser = argparse.ArgumentParser(
        description="Counts n-grams for `mote ngram train --counts`.",
        epilog="Texts and folders may be wherever Spark reads and writes; texts may be packed.",
    )
    parser.add_argument("inputs", metavar="TEXT", nargs="+", help="one sentence a line")
    parser.add_argument("-n", "--order", type=int, default=5, help="words of the longest n-grams")
    parser.add_argument("-o", "--output", required=True, help="the folder to make")
    parser.add_argument(
        "--skip-symbols", action="store_true", help="leave out <s>, </s> and <unk> in the text"
    )
    parser.add_argument("--gzip", action="store_true", help="pack what is written")
    options = parser.parse_args()
    if not 1 <= options.order <= 16:
        parser.error("the order is a number from 1 to 16")
    spark = SparkSession.builder.appName("mote n-gram counts").getOrCreate()
    compression = "gzip" if options.gzip else "none"
    count(
        spark, options.inputs, options.output, options.order, options.skip_symbols, compression
    )
    spark.stop()


if __name__ == "__main__":
    main()
