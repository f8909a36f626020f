#!/bin/bash
# What C and C++ programs see of libmote: installs it, compiles the headers in every dialect, builds and
# runs the examples in every way, and tests what only a C program can.   usage: runtime/capi/check.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
target_dir=${CARGO_TARGET_DIR:-target}
out=$(mkdir -p "$target_dir/capi-check" && cd "$target_dir/capi-check" && pwd)
prefix=$out/prefix fixtures=$PWD/tests/fixtures
rm -rf "$prefix" && "$here/install.sh" "$prefix"
export LD_LIBRARY_PATH=$prefix/lib PKG_CONFIG_PATH=$prefix/lib/pkgconfig
passed=0
ok() { passed=$((passed + 1)); echo "ok: $*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
# The random models write control characters, too.
text_of() { "$@" | tr -d '\0'; }

# One minute of threads.c under ThreadSanitizer. It must see Rust's atomics, so the library is built
# with it, too, by a nightly compiler; on stable there is none.
sanitized() {
    local target runtime
    target=$(rustc -vV | sed -n 's/^host: //p')
    runtime=$(rustc +nightly --print target-libdir 2> /dev/null || true)/librustc-nightly_rt.tsan.a
    if [ ! -f "$runtime" ]; then
        echo "NOT TESTED: threads.c under ThreadSanitizer, which needs a nightly compiler"
        return
    fi
    (cd "$here" && CARGO_TARGET_DIR=$out/sanitized \
        RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer -Zexternal-clangrt" \
        cargo +nightly rustc -p mote-capi --target "$target" --lib --crate-type staticlib)
    gcc -std=gnu99 $strict -O1 -g -fsanitize=thread -pthread -I"$prefix/include" -c -o threads.o "$here/tests/threads.c"
    gcc -pthread -o threads_sanitized threads.o "$out/sanitized/$target/debug/libmote.a" \
        -Wl,--whole-archive "$runtime" -Wl,--no-whole-archive -lm -ldl -lrt
    # With addresses where the sanitizer expects them.
    setarch -R ./threads_sanitized "$fixtures/models/gemma3.gguf" 60 2>&1 | tee sanitized.txt
    grep -q 'calls at work' sanitized.txt && ! grep -q WARNING sanitized.txt || fail "threads.c under ThreadSanitizer"
    ok "threads.c under ThreadSanitizer"
}

# ---- The library
library=$prefix/lib/libmote.so
# 1.80 MB with n-gram models, 43 architectures (recurrent ones, encoders), all rules for words, a cache of 8 bits and
# kernels for 22 encodings of integers.
limit=1800000
size=$(stat -L -c %s "$library")
echo "libmote.so: $size bytes stripped, of $limit allowed"
{ [ "$size" -le "$limit" ]; } || fail size
ok size
{ nm -D --defined-only "$library" | awk '{ print $3 }' | sort | diff - "$here/symbols.txt"; } || fail symbols
ok symbols
{ objdump -p "$library" | grep -q 'SONAME *libmote\.so\.0$'; } || fail soname
ok soname
# A page may have 16 KiB (Raspberry Pi 5): segments that share one could not be mapped.
if [ "$(uname -m)" = aarch64 ]; then
    ! objdump -p "$library" | grep LOAD | grep -vq '2\*\*1[4-9]' || fail pages
    ok pages
fi

# ---- The headers
strict="-Wall -Wextra -Wpedantic -Werror"
cd "$out"
echo '#include <mote.h>' > header.c
cp header.c header.cpp
echo '#include <mote.hpp>' > header_hpp.cpp
for std in c99 c11 c17; do
    gcc -std=$std $strict -I"$prefix/include" -fsyntax-only header.c
    ok "mote.h $std"
done
for std in c++11 c++17 c++20; do
    g++ -std=$std $strict -I"$prefix/include" -fsyntax-only header.cpp header_hpp.cpp
    ok "headers $std"
done

# ---- The examples
examples=$here/examples
c="gcc -std=c99 $strict -O1 -I$prefix/include" cpp="g++ -std=c++11 $strict -O1 -I$prefix/include"
link="-L$prefix/lib -lmote"
private=$(pkg-config --static --libs-only-l mote | sed 's/-lmote//')
model=$fixtures/models/llama-f32.gguf
{ [ "$(wc -l < "$examples/complete.c")" -lt 40 ]; } || fail "complete.c has less than 40 lines"
ok "complete.c has less than 40 lines"
$c -o complete "$examples/complete.c" $link
$c -o complete_static "$examples/complete.c" "$prefix/lib/libmote.a" $private
text=$(text_of ./complete "$model" "a text")
{ [ -n "$text" ] && [ "$text" = "$(text_of ./complete_static "$model" "a text")" ]; } || fail "complete.c, shared and static"
ok "complete.c, shared and static"
{ ! ./complete no-such-file "a text" 2> error.txt && grep -q 'cannot find the file' error.txt; } || fail "complete.c, no file"
ok "complete.c, no file"
$cpp -pthread -o stream "$examples/stream.cpp" $link
./stream "$model" "a text" "never comes" > all.txt 2> why.txt
grep -q 'stop: length' why.txt
stop=$(python3 -c "
t = open('all.txt').read()
windows = (t[i:i + 3] for i in range(len(t) // 2, len(t) - 3))
print(next(w for w in windows if '\0' not in w and not w.endswith('\n')), end='')")
./stream "$model" "a text" "$stop" > part.txt 2> why.txt
grep -q 'stop: string' why.txt
python3 - "$stop" << 'EOF'
import sys
whole, part = open("all.txt").read(), open("part.txt").read()
assert part == whole[:whole.index(sys.argv[1])], (part, whole)
EOF
ok "stream.cpp, a stop string"
{ ./stream "$model" "$(printf 'word %.0s' {1..90})" "never comes" 1000 > cut.txt 2> why.txt && grep -q cancelled why.txt; } || fail "stream.cpp, cancelled"
ok "stream.cpp, cancelled"
$c -o fallback "$examples/fallback.c" $link
(cd "$here/../.." && cargo run -q -p mote-tools -- ngram train --force -n 3 --tokenizer "$model" -o "$out/lm.gguf" README.md) > train.txt 2>&1 || fail "mote ngram train: $(cat train.txt)"
text_of ./fallback "$model" lm.gguf "a text" 100000000 > in_time.txt 2> why.txt
{ [ ! -s why.txt ] && text_of ./fallback "$model" lm.gguf "a text" 0 > late.txt 2> why.txt && grep -q 'degraded: .*deadline' why.txt; } || fail "fallback.c, a deadline"
head -c 50000 "$model" > cut.gguf
{ text_of ./fallback cut.gguf lm.gguf "a text" 0 > cut.txt 2> why.txt && grep -q 'degraded: .*GGUF' why.txt && cmp -s late.txt cut.txt; } || fail "fallback.c, a damaged model"
ok "fallback.c"
"$examples/embed.sh" "$fixtures/models/gemma3.gguf" > model.h
$c -I. -o embedded_model "$examples/embedded_model.c" "$prefix/lib/libmote.a" $private
{ ./embedded_model > embedded.txt && grep -q 'allocations 0$' embedded.txt && tail -1 embedded.txt; } || fail embedded_model.c
ok embedded_model.c
make -s -C "$examples/pkgconfig" clean
make -s -C "$examples/pkgconfig"
built=$(text_of "$examples/pkgconfig/complete_static" "$model" "a text")
[ "$built" = "$text" ] || fail "pkg-config Makefile, static"
built=$(text_of env -u LD_LIBRARY_PATH "$examples/pkgconfig/complete" "$model" "a text")
[ "$built" = "$text" ] || fail "pkg-config Makefile, shared"
ok "pkg-config Makefile"
make -s -C "$examples/pkgconfig" clean
if cmake --version > /dev/null 2>&1; then
    rm -rf cmake-build
    cmake -S "$examples/cmake" -B cmake-build -DCMAKE_PREFIX_PATH="$prefix" > cmake.log
    cmake --build cmake-build >> cmake.log
    for program in complete complete_static; do
        { [ "$(text_of ./cmake-build/$program "$model" "a text")" = "$text" ]; } || fail "CMake, $program"
        ok "CMake, $program"
    done
elif [ "${CI:-}" = true ]; then
    echo "cmake is missing: apt-get install cmake, or pip install cmake" >&2
    exit 1
else
    echo "NOT TESTED: CMake, which is not here"
fi

# ---- Without the standard library
"$here/install.sh" --no-std "$out/bare"
bare=$out/bare/lib/libmote.a
grep -vxE 'mote_(guard_files|model_open|tokenize|session_feed_text|session_set_deadline)' "$here/symbols.txt" > bare_symbols.txt
{ nm "$bare" 2>/dev/null | awk '$2 == "T" && $3 ~ /^mote_/ { print $3 }' | sort | diff - bare_symbols.txt; } || fail "symbols without the standard library"
ok "symbols without the standard library"
"$examples/embed.sh" "$fixtures/models/llama-q4_0.gguf" > model.h
build_bare() { $c -D_POSIX_C_SOURCE=200809L -I. -o "$1" "$examples/bare/bare.c" "$examples/bare/posix.c" "${@:2}"; }
build_bare bare_hosted $link
build_bare bare_alone "$bare"
{ ./bare_hosted > hosted.txt && ./bare_alone | diff hosted.txt - && ! nm bare_alone | grep -q 3std; } || fail bare.c
ok "bare.c"
MOTE_CFG=mote_panics "$here/install.sh" --no-std "$out/panics"
build_bare bare_panics "$out/panics/lib/libmote.a"
{ ! ./bare_panics > bare_panics.txt && grep -q 'asked for by a test' bare_panics.txt; } || fail "mote_panic"
ok "mote_panic"

# ---- What only a C program shows
gcc -std=gnu99 $strict -O1 -pthread -I"$prefix/include" -frounding-math -o misuse "$here/tests/misuse.c" $link -lm
./misuse "$fixtures/models/gemma3.gguf"
gcc -std=gnu99 $strict -O1 -pthread -I"$prefix/include" -o threads "$here/tests/threads.c" $link
./threads "$fixtures/models/gemma3.gguf" 5
ok "threads.c"
sanitized
gcc -std=gnu99 $strict -O1 -I"$prefix/include" -o unload "$here/tests/unload.c" -ldl
./unload "$fixtures/models/gemma3.gguf" "$library"
# Last, because the libraries of this build take the place of the others.
MOTE_CFG=mote_panics "$here/install.sh" "$out/panics"
$c -o panics_shared "$here/tests/panics.c" -L"$out/panics/lib" -lmote
{ LD_LIBRARY_PATH=$out/panics/lib ./panics_shared "$fixtures/models/gemma3.gguf" > panics.txt 2>&1 && [ "$(cat panics.txt)" = "internal error" ]; } || fail panics.c
ok panics.c
echo "test result: ok. $passed passed; 0 failed;"
