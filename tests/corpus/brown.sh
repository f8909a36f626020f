#!/bin/bash
# Perplexity of the Brown corpus in the split and the convention of Bengio et al. 2003 (one long stream,
# every token counts alike), Kneser-Ney models of order 3, 4 and 5. KenLM gives 314.2, 312.3 and 311.6.
#
# usage: tests/corpus/brown.sh FOLDER    with brown.rareB.{train,test}.txt.gz: rare words merged
set -euo pipefail
folder=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo build --release --quiet
gzip -dc "$folder/brown.rareB.test.txt.gz" > "$work/test.txt"
for order in 3 4 5; do
    # A vocabulary of 16,383 words and one that stands for a word never seen.
    target/release/mote ngram train -n $order --stream --vocab-pad 16384 --value-bits 32 \
        "$folder/brown.rareB.train.txt.gz" -o "$work/$order.gguf" 2> /dev/null
    target/release/mote score -m "$work/$order.gguf" -f "$work/test.txt" --bits --json |
        python3 -c "import json, sys; print('n = $order: perplexity %.1f' % json.load(sys.stdin)['all']['perplexity'])"
done
