#!/bin/bash
# Fuzzes the targets of tests/src/fuzz, two at a time, and says what came of it. Needs rustup's nightly.
# usage: tests/fuzz/run.sh [SECONDS] [TARGET...]          each target so long (30)
#        tests/fuzz/run.sh --until EXECUTIONS [TARGET...] until each has so many in all; may be ended and
#                                                         called again
#        tests/fuzz/run.sh --counts                       how many each has so far
#        tests/fuzz/run.sh --replay FILE TARGET           one input, with a trace of the stack
#        tests/fuzz/run.sh --minimise [TARGET...]         the corpus becomes the smallest inputs that reach
#                                                         all that was reached
# FUZZ_JOBS=2   targets at a time
set -euo pipefail
cd "$(dirname "$0")"

host=$(rustc +nightly -vV | sed -n 's/^host: //p')
out=${CARGO_TARGET_DIR:-$PWD/../../target}/fuzz
binary=$out/$host/release/mote-fuzz
# Inputs of more bytes are no other code: what is large in a model is filled in by the targets.
longest=16384
# What is kept in the repository is smaller still.
longest_kept=4096
# A slice of --until: then its executions are counted.
slice=600
jobs=${FUZZ_JOBS:-2}

build() {
    # With --target, so that build scripts and macros, which run in the compiler, have no sanitizer.
    RUSTC_WRAPPER=$PWD/watch.sh RUSTFLAGS="-Zsanitizer=address -Cforce-frame-pointers=yes" \
        cargo +nightly build --release --locked --target "$host" --target-dir "$out"
    # Where files are made, memory is faster than a disk.
    [ ! -w /dev/shm ] || TMPDIR=/dev/shm
    TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/mote-fuzz.XXXXXX")
    export TMPDIR
    trap 'rm -rf "$TMPDIR"' EXIT
    export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
}

# fuzz TARGET SECONDS: a run; its log is $out/logs/TARGET.
fuzz() {
    mkdir -p "$out/found/$1" "$out/finds/$1" "$out/logs" "$out/counts"
    # Inputs are found anew into the first folder; the corpus of the repository is only read.
    TARGET=$1 "$binary" -max_total_time="$2" -max_len=$longest -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -verbosity=1 -artifact_prefix="$out/finds/$1/" \
        "$out/found/$1" "corpus/$1" >"$out/logs/$1" 2>&1 || return 1
}

# stat TARGET NAME: a figure of its last run.
stat() { awk -v name="stat::$2:" '$1 == name { print $2 }' "$out/logs/$1"; }

counted() { cat "$out/counts/$1" 2>/dev/null || echo 0; }

# report TARGET STATUS: a line of the table; counts the executions.
report() {
    local executions covered finds
    executions=$(stat "$1" number_of_executed_units)
    covered=$(grep -o 'cov: [0-9]*' "$out/logs/$1" | tail -1 | cut -c6-)
    finds=$(find "$out/finds/$1" -type f | wc -l)
    echo $(($(counted "$1") + ${executions:-0})) >"$out/counts/$1"
    printf '%-16s %12s %8s %9s %8s %6s\n' "$1" "${executions:-?}" \
        "$(stat "$1" average_exec_per_sec)" "$(ls "$out/found/$1" | wc -l)" "${covered:-?}" "$finds"
    [ "$2" -eq 0 ] || grep -E 'panicked|assertion|left:|right:|ERROR|SUMMARY' -A1 "$out/logs/$1" | head -20
}

# one TARGET SECONDS: fuzzes and reports; its own process, so that several run at a time.
one() {
    local status=0
    fuzz "$1" "$2" || status=1
    report "$1" $status
    return $status
}

# until TARGET EXECUTIONS
until_counted() {
    while [ "$(counted "$1")" -lt "$2" ]; do
        one "$1" "$slice" || return 1
    done
}

# each FUNCTION ARGUMENT TARGET...: for every target, some at a time; fails if one does.
each() {
    local function=$1 argument=$2 target passed=0 failed=0 running=0
    shift 2
    printf '%-16s %12s %8s %9s %8s %6s\n' target executions a/second inputs edges finds
    finish() { if wait -n; then passed=$((passed + 1)); else failed=$((failed + 1)); fi; }
    for target; do
        if [ $running -eq "$jobs" ]; then
            finish
        else
            running=$((running + 1))
        fi
        "$function" "$target" "$argument" &
    done
    for ((; running > 0; running--)); do finish; done
    if [ $failed -gt 0 ]; then
        echo "Inputs lie in $out/finds/TARGET; tests/fuzz/run.sh --replay FILE TARGET shows what they do."
        echo "test result: FAILED. $passed passed; $failed failed;"
        return 1
    fi
    echo "test result: ok. $passed passed; $failed failed;"
}

# The smallest inputs for everything that the corpus and what was found reach. Inputs that once were
# wrong (find-...) stay.
minimise() {
    local new=$out/minimised/$1
    rm -rf "$new"
    mkdir -p "$new" "$out/found/$1"
    TARGET=$1 "$binary" -merge=1 -max_len=$longest_kept -timeout=10 -rss_limit_mb=2048 "$new" "corpus/$1" \
        "$out/found/$1" >"$out/logs/$1.merge" 2>&1
    find "corpus/$1" -type f ! -name 'find-*' -delete
    # Their names are what they hold: half of a checksum tells them apart.
    for file in "$new"/*; do
        cp "$file" "corpus/$1/$(basename "$file" | cut -c1-16)"
    done
    echo "$1: $(ls "corpus/$1" | wc -l) inputs, $(cat "corpus/$1"/* | wc -c) bytes"
}

all=(corpus/*/)
all=("${all[@]%/}")
all=("${all[@]#corpus/}")
case "${1:-}" in
    --counts)
        for target in "${all[@]}"; do printf '%-16s %12s\n' "$target" "$(counted "$target")"; done
        ;;
    --replay)
        build
        TARGET=$3 RUST_BACKTRACE=1 "$binary" "$2"
        ;;
    --minimise)
        build
        shift
        [ $# -gt 0 ] || set -- "${all[@]}"
        for target; do minimise "$target"; done
        ;;
    --until)
        build
        executions=$2
        shift 2
        [ $# -gt 0 ] || set -- "${all[@]}"
        each until_counted "$executions" "$@"
        ;;
    *)
        build
        seconds=${1:-30}
        shift || true
        [ $# -gt 0 ] || set -- "${all[@]}"
        each one "$seconds" "$@"
        ;;
esac
