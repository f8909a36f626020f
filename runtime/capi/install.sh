#!/bin/bash
# Builds libmote and installs it: PREFIX/{lib,include,lib/pkgconfig,lib/cmake/mote}.
# usage: runtime/capi/install.sh [--no-std] PREFIX        (DESTDIR is put before it, as by make install)
# --no-std: only the static library, for programs without operating system (mote.h says what it has).
# CARGO_BUILD_TARGET builds for another system. Another linker or strip: CARGO_TARGET_..._LINKER, STRIP.
# MOTE_CFG=mote_panics builds a library in which every function panics (check.sh).
set -euo pipefail
std=1
[ "${1:-}" != --no-std ] || { std=0; shift; }
[ $# -eq 1 ] || { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }
prefix=$1
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
to=${DESTDIR:-}$prefix

cd "$root"
host=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_BUILD_TARGET:-$host}
out=${CARGO_TARGET_DIR:-target}/$target
cfg=${MOTE_CFG:+--cfg $MOTE_CFG}
build() { cargo rustc --target "$target" -p mote-capi --lib --profile "$@"; }

if [ "$std" = 0 ]; then
    build capi-bare --no-default-features --crate-type staticlib -- $cfg
    mkdir -p "$to/include" "$to/lib"
    cp "$here/include/mote.h" "$to/include/"
    cp "$out/capi-bare/libmote.a" "$to/lib/"
    echo "libmote without the standard library in $to"
    exit
fi

# The shared library, a quarter smaller where the linker is Rust's own. A panic, which becomes a status
# anyway, shall not print: its handler and that of exhausted memory are replaced (src/quiet.rs) by the
# linker, and with them goes the standard library's reader of debug information. For that, the
# linker must do the link-time optimisation. It makes equal functions one, too.
quiet_cdylib() {
    local library flags="" name symbol
    library=$(rustc --print target-libdir --target "$target")/libstd-*.rlib
    for name in rust_begin_unwind __rust_alloc_error_handler; do
        # Their names contain a number of the compiler's.
        symbol=$(grep -aohE "_RNvCs[0-9A-Za-z]+_7___rustc[0-9]+_*$name" $library | sort -u)
        [ "$(wc -w <<< "$symbol")" = 1 ] || return 1
        flags+=" -C link-arg=-Wl,--defsym=$symbol=mote_quiet_$name"
    done
    flags+=" -C link-arg=-fuse-ld=lld -C link-arg=-Wl,--icf=all,--lto-partitions=1"
    flags+=" -C link-arg=-B$(rustc --print sysroot)/lib/rustlib/$host/bin/gcc-ld"
    # With the mangling of .cargo/config.toml, which these flags replace.
    build capi --config 'profile.capi.lto="off"' \
        --config "target.$target.rustflags=['-Csymbol-mangling-version=v0', '-Clinker-plugin-lto']" \
        --crate-type cdylib -- --cfg mote_quiet $cfg $flags
}
quiet_cdylib || build capi --crate-type cdylib -- $cfg
cp "$out/capi/libmote.so" "$out/capi/libmote.so.built"
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
major=${version%%.*}
# What the Rust standard library needs of the system where it is linked statically.
log=$(build capi --crate-type staticlib -- $cfg --print native-static-libs 2>&1) || { echo "$log" >&2; exit 1; }
private=$(sed -n 's/^note: native-static-libs: //p' <<< "$log" | tail -1)
: "${private:=-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc}"

mkdir -p "$to/include" "$to/lib/pkgconfig" "$to/lib/cmake/mote"
cp "$here/include/mote.h" "$here/include/mote.hpp" "$to/include/"
cp "$out/capi/libmote.a" "$to/lib/"
cp "$out/capi/libmote.so.built" "$to/lib/libmote.so.$version"
"${STRIP:-strip}" --strip-unneeded "$to/lib/libmote.so.$version"
ln -sf "libmote.so.$version" "$to/lib/libmote.so.$major"
ln -sf "libmote.so.$major" "$to/lib/libmote.so"
fill() { sed -e "s|@PREFIX@|$prefix|g; s|@VERSION@|$version|g; s|@MAJOR@|$major|g; s|@PRIVATE@|$private|g" "$1"; }
fill "$here/mote.pc.in" > "$to/lib/pkgconfig/mote.pc"
fill "$here/mote-config.cmake.in" > "$to/lib/cmake/mote/mote-config.cmake"
fill "$here/mote-config-version.cmake.in" > "$to/lib/cmake/mote/mote-config-version.cmake"
echo "libmote $version in $to"
