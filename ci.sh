#!/bin/bash
# Everything that CI runs, one named job each.
# usage: ./ci.sh [JOB...]    all jobs, or the named ones;    ./ci.sh --list
#        ./ci.sh counts --update    writes the tables of instructions and loops anew
#        ./ci.sh bare-metal --update    writes the tables of the microcontroller's image and of panics anew
#
# MOTE_REQUIRE=scalar,avx2,…   kernel tables that must be tested (default: what this CPU has)
# MOTE_CROSS=debian            cross-compile with Debian's toolchain even where rustup has the target
# CI=true                      nothing may be left out: the large test sets in ../shared must be there
set -euo pipefail
cd "$(dirname "$0")"

libraries=(-p mote-kernels -p mote-formats -p mote-runtime)
target_dir=${CARGO_TARGET_DIR:-target}
logs=$target_dir/ci
# Built once from nothing: half the disk space (BENCHMARKS measure none of these).
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=line-tables-only

# ---- The jobs, quick ones first

jobs=(fmt clippy supply doc features models test test-release fuzz docs no-std capi races spark)
# Emulated CPUs and cross-compilers: set up for an x86-64 host.
[ "$(uname -m)" != x86_64 ] || jobs+=(counts old-x86 aarch64 armv7 release bare-metal)

job_fmt() {
    local manifest
    cargo fmt --all --check
    for manifest in runtime/examples/*/Cargo.toml tests/fuzz/Cargo.toml; do
        cargo fmt --check --manifest-path "$manifest"
    done
}

job_clippy() { cargo clippy --workspace --all-targets -- -D warnings; }

# Other people's code: licences, sources, versions, and each dependency of the core with its reason.
job_supply() { python3 tests/guards/supply.py; }

job_doc() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps; }

# Every crate alone with every feature set: in a workspace build the features of all are united.
job_features() {
    local crate features
    for crate in kernels: kernels:std {formats,runtime}:{,alloc,std} formats:checkpoints runtime:{log,defmt} \
        capi:std tools:{,chat,constrained,embedded,make,measure,pages,pull}; do
        features=${crate#*:}
        crate=${crate%:*}
        echo "$crate, features: ${features:-none}"
        cargo clippy -p "mote-$crate" --no-default-features --features "$features" -- -D warnings
    done
}

job_models() { models/fetch.sh smollm2-135m gemma-3-270m; }

job_test() {
    require_shared
    cargo test --workspace --no-fail-fast
}

# Optimised code has other bugs than unoptimised; and only here are the real models fast enough. How a process
# behaves, and what broken files are read as, depends on neither.
job_test_release() {
    require_shared
    MOTE_REQUIRE_MODELS=1 cargo test --release --no-fail-fast -p mote-kernels -p mote-runtime -p mote-tests \
        --lib --test it -- --skip sweeps --skip faults --skip manners --skip catalogue --skip tidy
}

# Each target half a minute, behind a sanitizer that finds what safe Rust does not. A longer run:
# tests/fuzz/README.md.
job_fuzz() { tests/fuzz/run.sh 30; }

# Every command that the README and docs/ print, from a fresh clone.
job_docs() {
    cargo build --release
    python3 tests/docs/run.py "$target_dir/docs"
}

# The bare-metal families. A `std` or an operating system that crept in does not compile.
job_no_std() {
    local target
    for target in thumbv7em-none-eabihf riscv32imac-unknown-none-elf aarch64-unknown-none; do
        cross "$target" core,alloc
        "${cargo[@]}" build --release --target "$target" "${libraries[@]}" --no-default-features
        "${cargo[@]}" build --release --target "$target" -p mote-formats -p mote-runtime \
            --no-default-features --features mote-formats/alloc,mote-runtime/alloc
    done
}

# libmote as C and C++ programs see it: headers, symbols, size, examples, misuse.
job_capi() {
    cargo test -p mote-capi
    runtime/capi/check.sh
}

# Sessions of one model in many threads under ThreadSanitizer, which Rust's nightly compiler has. Rust's
# library is not instrumented; mote's own hand-overs between threads are atomics, which are.
job_races() {
    local target=x86_64-unknown-linux-gnu directory=$target_dir/races
    RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" CARGO_TARGET_DIR=$directory \
        cargo +nightly build --target "$target" -p mote-tests --no-default-features --bin mote-soak
    TSAN_OPTIONS=halt_on_error=1 "$directory/$target/debug/mote-soak" 30 --sanitized
    echo "test result: ok. 1 passed; 0 failed;"
}

# Counts of n-grams by Spark: the same model as from the text. Needs Java.
job_spark() {
    local python=$target_dir/spark/bin/python text=${MOTE_SHARED:-../shared}/ngram/brown2k/train.txt
    cargo build --release
    [ -x "$python" ] || python3 -m venv "$target_dir/spark"
    "$python" -m pip install --quiet --disable-pip-version-check pyspark==4.3.0
    [ -e "$text" ] || text=
    "$python" tests/spark/ngram_counts.py "$target_dir/release/mote" ${text:+"$text"}
}

# Kernels that became slower, without a clock: instructions under callgrind, which cannot run AVX-512,
# and the inner loops of the binary's disassembly, which has all targets. What the binary weighs.
job_counts() {
    local binary=$target_dir/release/mote status=0
    cargo build --release
    cargo build --profile dist -p mote-tools
    cargo build --profile small -p mote-tools --no-default-features
    python3 tests/guards/size.py "$target_dir/dist/mote" "$target_dir/small/mote" || status=1
    python3 tests/guards/loops.py "$binary" $update || status=1
    python3 tests/guards/instructions.py "$binary" $update || status=1
    arm_counts || status=1
    return $status
}

# The inner loops for aarch64. (What llvm-mca says about their speed: tests/guards/mca.py.)
arm_counts() {
    local target=aarch64-unknown-linux-gnu binary rustc=rustc
    cross "$target" std,test
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        "${cargo[@]}" build --release --target "$target" -p mote-tools
    binary=$target_dir/$target/release/mote
    if [ "${#cargo[@]}" -gt 1 ]; then
        binary=$target_dir/cross/debian/$target/release/mote rustc=/usr/bin/rustc
    fi
    RUSTC=$rustc python3 tests/guards/loops.py "$binary" $update
}

# What older CPUs are given: a kernel chosen wrongly dies here of an illegal instruction. valgrind
# shows the program a Haswell (qemu's masked loads read past their mask, into the guard pages).
job_old_x86() {
    local status=0
    [[ $required != *avx2* ]] || old_x86 scalar,avx2 "valgrind -q --tool=none" || status=1
    old_x86 scalar "qemu-x86_64-static -cpu Nehalem" || status=1
    return $status
}

# The kernel tests alone: what stands above the kernels does not depend on the CPU.
old_x86() {
    local test=(cargo test --release --no-fail-fast)
    echo "CPU with $1: $2"
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=$2 MOTE_REQUIRE=$1
    "${test[@]}" -p mote-kernels --lib &&
        "${test[@]}" -p mote-tests --test it -- kernels_match_scalar encodings "${emulated[@]}"
}

# The whole suite as a Raspberry Pi would run it, emulated; then the kernels on older CPUs. A kernel
# chosen wrongly dies of an illegal instruction. Without link-time optimisation, which takes minutes for each
# binary (what is given to users has it: job release).
job_aarch64() {
    local target=aarch64-unknown-linux-gnu status=0 cpu
    cross "$target" std,test
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc CARGO_PROFILE_RELEASE_LTO=off
    arm_test max "$arm_tables" "${libraries[@]}" -p mote-tests --lib --tests \
        -- "${emulated[@]}" || status=1
    for cpu in cortex-a53:neon cortex-a72:neon cortex-a76:neon,dotprod neoverse-n1:neon,dotprod; do
        arm_test "${cpu%:*}" "scalar,${cpu#*:}" -p mote-kernels -p mote-tests --lib --test it \
            -- kernels_match_scalar arch:: "${emulated[@]}" || status=1
    done
    return $status
}

# Every kernel table for aarch64.
arm_tables=scalar,neon,dotprod,i8mm

# arm_test CPU TABLES ARGUMENTS: cargo test on an emulated CPU that must have these tables.
arm_test() {
    local cpu=$1 tables=$2
    shift 2
    echo "CPU $cpu with $tables"
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L /usr/aarch64-linux-gnu -cpu $cpu" \
        MOTE_REQUIRE=$tables without_large_sets "${cargo[@]}" test --release --target "$target" \
        --no-fail-fast "$@"
}

# A 32-bit Raspberry Pi, emulated: the kernels and the tiny models. It has the scalar table alone, so
# there is nothing to compare that with but the definitions.
job_armv7() {
    local target=armv7-unknown-linux-gnueabihf test
    cross "$target" std,test
    test=("${cargo[@]}" test --release --target "$target" --no-fail-fast)
    export CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=arm-linux-gnueabihf-gcc
    export CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_RUNNER="qemu-arm-static -L /usr/arm-linux-gnueabihf -cpu cortex-a7"
    export MOTE_REQUIRE=scalar CARGO_PROFILE_RELEASE_LTO=off
    without_large_sets "${test[@]}" "${libraries[@]}" --lib -- "${emulated[@]}"
    without_large_sets "${test[@]}" -p mote-tests --test it -- \
        encodings reference::tiny same_bits::encoded same_bits::mixed two_cores "${emulated[@]}"
}

# What is given to users of a Raspberry Pi: static programs and libmote, emulated.
job_release() {
    local target releases=$target_dir/releases
    models/fetch.sh smollm2-135m
    cargo build --release
    rm -rf "$releases"
    for target in aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf; do
        cross "$target" std
        # What stands before cargo's name are its settings.
        MOTE=$target_dir/release/mote "${cargo[@]:0:${#cargo[@]}-1}" tools/release.sh "$releases" "$target"
    done
    python3 tests/cross/release.py "$target_dir/release/mote" "$releases" \
        tests/fixtures/models/llama-q4_0.gguf models/SmolLM2-135M-Instruct.Q4_1.gguf
}

# No operating system: the examples on emulated boards. What they compute equals what the desktop's
# mote computes, and the microcontroller's image does not grow unseen.
job_bare_metal() {
    local mote=$target_dir/release/mote tiny=tests/fixtures/models/llama-q4_0.gguf
    models/fetch.sh smollm2-135m
    cargo build --release
    example cortex-m thumbv7em-none-eabihf
    DEFMT=$logs/defmt.bin runtime/examples/cortex-m/run.sh "$image" | tee "$logs/cortex-m.txt"
    python3 tests/cross/same_as_desktop.py "$mote" "$tiny" "$logs/cortex-m.txt"
    [ -s "$logs/defmt.bin" ] || { echo "no notes came by defmt"; return 1; }
    RUSTC=$rustc python3 tests/guards/image.py "$image" "$tiny" $update
    bare_c "$tiny"
    example bare-aarch64 aarch64-unknown-none
    runtime/examples/bare-aarch64/run.sh "$image" | tee "$logs/bare-aarch64.txt"
    python3 tests/cross/same_as_desktop.py "$mote" models/SmolLM2-135M-Instruct.Q4_1.gguf \
        "$logs/bare-aarch64.txt"
}

# The C ABI without the standard library: a C program on the same board prints what it prints here.
bare_c() {
    local target=thumbv7em-none-eabihf out=$target_dir/bare-c examples=runtime/capi/examples library
    cross "$target" core
    "${cargo[@]}" rustc --profile capi-bare --target "$target" -p mote-capi --no-default-features --lib \
        --crate-type staticlib
    library=$target_dir/$target/capi-bare/libmote.a
    [ "${#cargo[@]}" -eq 1 ] || library=$target_dir/cross/debian/$target/capi-bare/libmote.a
    "$examples/bare/run.sh" "$library" "$1" "$out" | tee "$logs/bare-c.txt"
    cargo rustc --profile capi-bare -p mote-capi --no-default-features --lib --crate-type staticlib
    gcc -std=c99 -D_POSIX_C_SOURCE=200809L -O1 -I"$out" -Iruntime/capi/include -o "$out/hosted" \
        "$examples/bare/bare.c" "$examples/bare/posix.c" "$target_dir/capi-bare/libmote.a"
    "$out/hosted" | diff "$logs/bare-c.txt" -
    python3 tests/guards/panics.py "$target_dir/capi-bare/libmote.a" $update
    echo "test result: ok. 1 passed; 0 failed;"
}

# ---- What they share

# example NAME TARGET: builds an example that has a workspace of its own; sets `image` to the program.
example() {
    local directory
    cross "$2" core,alloc
    directory=$(mkdir -p "$target_dir/examples" && cd "$target_dir/examples" && pwd)
    # From its folder, where cargo finds the example's own settings.
    (cd "runtime/examples/$1" && "${cargo[@]}" build --release --locked --target "$2" \
        --target-dir "$directory" --config 'profile.release.lto="fat"')
    image=$directory/$2/release/mote-$1
}

# What an emulated process cannot do: see inaccessible pages in /proc/self/maps, map 4 TiB, take 10
# MB of text or measure a machine in the time that a real one is given, start another process (with
# threads at work, qemu's fork hangs now and then), send itself a fault, which qemu could take for its own.
emulated=(--skip guards_guard --skip a_file_larger_than_memory_is_mapped --skip ten_megabytes
    --skip measured_in_seconds --skip bench_compare --skip in_a_process
    --skip manners::processes --skip faults::processes --skip case_416_a_page
    --skip tidy --skip catalogue)
# Readers of files have nothing of the CPU, and a great many files are shown to them; some moments are enough.
emulated+=(--skip sweeps --skip fuzz_corpus --skip every_flipped_bit --skip ten_thousand
    --skip hostile_keys --skip case_300_json)
# It is about 20 times slower, too: the fixtures show what it has to show, the large sets run natively.
without_large_sets() { MOTE_SHARED=none MOTE_MODELS=none "$@"; }

# The large test sets lie beside the checkout: run where present, required in CI.
require_shared() {
    if [ -d ../shared ] || [ "${CI:-}" = true ]; then
        export MOTE_REQUIRE_SHARED=1
    fi
}

# cross TARGET CRATES: sets `cargo` to a command that builds for TARGET, with rustup's standard
# library or else with one built by Debian's toolchain (see tests/cross/mksysroot.sh).
cross() {
    local target=$1 crates=$2 variable root
    cargo=(cargo) rustc=rustc
    if [ "${MOTE_CROSS:-}" != debian ]; then
        [ ! -d "$(rustc --print target-libdir --target "$target")" ] || return 0
        ! rustup target add "$target" || return 0
    fi
    root=$(mkdir -p "$target_dir/cross/$target" && cd "$target_dir/cross/$target" && pwd)
    tests/cross/mksysroot.sh "$target" "$root" "$crates"
    variable=CARGO_TARGET_${target//-/_}
    variable=${variable^^}
    rustc=/usr/bin/rustc
    # No LTO: it takes long, and the tests behind it look for other errors. The mangling as in
    # .cargo/config.toml.
    cargo=(env RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc
        CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_DIST_LTO=off
        "${variable}_RUSTFLAGS=--sysroot $root/sysroot -C symbol-mangling-version=v0"
        "CARGO_TARGET_DIR=$target_dir/cross/debian")
    # Debian's compiler comes without the linker that it expects for a bare target; rustup's has it.
    [[ $target != *-none* ]] || cargo+=("${variable}_LINKER=$(rustc --print target-libdir)/../bin/rust-lld")
    cargo+=(/usr/bin/cargo)
}

# Sets `required` and `untested`: the kernel tables that this CPU can and cannot run.
detect_instruction_sets() {
    local flags
    required=scalar untested=
    flags=" $(grep -m1 '^flags' /proc/cpuinfo 2>/dev/null || true) "
    has() {
        local flag
        for flag in "$@"; do
            [[ $flags == *" $flag "* ]] || return 1
        done
    }
    [ "$(uname -m)" = x86_64 ] || return 0
    if has avx2 fma f16c; then required+=,avx2; else untested+=" avx2"; fi
    if has avx2 fma f16c avx_vnni; then required+=,avxvnni; else untested+=" avxvnni"; fi
    if has avx512f avx512bw avx512dq avx512vl avx512_vnni avx512vbmi; then
        required+=,avx512
    else
        untested+=" avx512"
    fi
}

# count WORD LOG: how many tests `cargo test` reported as passed, or as failed.
count() {
    awk -v word="$1;" '/^test result: / { for (i = 4; i < NF; i++) if ($(i + 1) == word) sum += $i }
        END { print sum + 0 }' "$2"
}

# ---- The run

case "${1:-}" in
    --list)
        printf '%s\n' "${jobs[@]}"
        exit
        ;;
    -*)
        sed -n '2,5s/^# //p' "$0" >&2
        exit 2
        ;;
esac
update=
if [[ "$*" =~ ^(counts|bare-metal)" --update"$ ]]; then
    update=--update
    set -- "$1"
fi
selected=("$@")
[ $# -gt 0 ] || selected=("${jobs[@]}")
for job in "${selected[@]}"; do
    if [[ " ${jobs[*]} " != *" $job "* ]]; then
        echo "ci.sh: no job is called '$job'; ./ci.sh --list names them" >&2
        exit 2
    fi
done

mkdir -p "$logs"
detect_instruction_sets
export MOTE_REQUIRE=${MOTE_REQUIRE:-$required}
summary=$(printf '%-14s %7s %7s %7s  %s' job seconds passed failed result)
all_passed=0 all_failed=0
for job in "${selected[@]}"; do
    printf '\n==== %s\n' "$job"
    start=$SECONDS
    # Not as a condition: that would switch -e off inside the job.
    set +e
    (
        set -e
        "job_${job//-/_}"
    ) 2>&1 | tee "$logs/$job.log"
    status=${PIPESTATUS[0]}
    set -e
    passed=$(count passed "$logs/$job.log") failed=$(count failed "$logs/$job.log") result=ok
    if [ "$status" -ne 0 ]; then
        result="FAILED, exit code $status"
        # A job that failed without a failed test (a lint, a crash) counts as one.
        [ "$failed" -gt 0 ] || failed=1
    fi
    # Figures of another compiler are no failure, and no pass either.
    ! grep -q 'NOT COMPARABLE' "$logs/$job.log" || result+=", NOT COMPARABLE (another compiler)"
    all_passed=$((all_passed + passed)) all_failed=$((all_failed + failed))
    summary+=$(printf '\n%-14s %7d %7d %7d  %s' \
        "$job" $((SECONDS - start)) "$passed" "$failed" "$result")
done

printf '\n==== summary, %d seconds; kernel tables required: %s\n%s\n' \
    "$SECONDS" "$MOTE_REQUIRE" "$summary"
[ -z "$untested" ] || echo "NOT TESTED natively, because this CPU lacks them:$untested"
echo "$all_passed passed, $all_failed failed"
[ "$all_failed" -eq 0 ]
