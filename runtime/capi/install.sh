#!/bin/bash
# Builds libmote and installs it: PREFIX/{lib,include,lib/pkgconfig,lib/cmake/mote}.
# usage: runtime/capi/install.sh PREFIX        (DESTDIR is put before it, as by make install)
# CARGO_BUILD_TARGET builds for another system. Another linker or strip: CARGO_TARGET_..._LINKER, STRIP.
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
prefix=$1
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
to=${DESTDIR:-}$prefix

cd "$root"
build() { cargo rustc --profile capi -p mote-capi --lib --crate-type "$@"; }
# Equal functions once, where the linker can: a tenth of the size.
build cdylib -- -C link-arg=-Wl,--icf=all 2>/dev/null || build cdylib
out=${CARGO_TARGET_DIR:-target}/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}capi
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
major=${version%%.*}
# What the Rust standard library needs of the system where it is linked statically.
log=$(build staticlib -- --print native-static-libs 2>&1) || { echo "$log" >&2; exit 1; }
private=$(sed -n 's/^note: native-static-libs: //p' <<< "$log" | tail -1)
: "${private:=-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc}"

mkdir -p "$to/include" "$to/lib/pkgconfig" "$to/lib/cmake/mote"
cp "$here/include/mote.h" "$here/include/mote.hpp" "$to/include/"
cp "$out/libmote.a" "$to/lib/"
cp "$out/libmote.so" "$to/lib/libmote.so.$version"
"${STRIP:-strip}" --strip-unneeded "$to/lib/libmote.so.$version"
ln -sf "libmote.so.$version" "$to/lib/libmote.so.$major"
ln -sf "libmote.so.$major" "$to/lib/libmote.so"
fill() { sed -e "s|@PREFIX@|$prefix|g; s|@VERSION@|$version|g; s|@MAJOR@|$major|g; s|@PRIVATE@|$private|g" "$1"; }
fill "$here/mote.pc.in" > "$to/lib/pkgconfig/mote.pc"
fill "$here/mote-config.cmake.in" > "$to/lib/cmake/mote/mote-config.cmake"
fill "$here/mote-config-version.cmake.in" > "$to/lib/cmake/mote/mote-config-version.cmake"
echo "libmote $version in $to"
