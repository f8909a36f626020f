#!/bin/bash
# Builds the standard library for a target, where rustup cannot bring it: from Debian's packages
# rustc-web, cargo-web and rust-web-src (compiler and matching sources in /usr). Afterwards plain
# stable cargo works: RUSTC=/usr/bin/rustc, rustflags `--sysroot DIR/sysroot` for that target.
# usage: mksysroot.sh TARGET DIR [CRATES]    CRATES: std,test (the default) or core,alloc
set -euo pipefail
target=$1 crates=${3:-std,test}
mkdir -p "$2/build/src"
cd "$2"
library=sysroot/lib/rustlib/$target/lib
stamp="$(/usr/bin/rustc --version) $crates, bitcode"
[ "$(cat "$library/.stamp" 2>/dev/null)" != "$stamp" ] || exit 0
printf '[package]\nname = "sysroot"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n' > build/Cargo.toml
echo '#![no_std]' > build/src/lib.rs
# RUSTC_BOOTSTRAP opens -Zbuild-std for this one build; nothing of the project is built with it. With
# bitcode, so that link-time optimisation reaches the library as it does rustup's.
CARGO_ENCODED_RUSTFLAGS=-Cembed-bitcode=yes RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=build/target \
    /usr/bin/cargo build --manifest-path build/Cargo.toml --release --target "$target" \
    -Zbuild-std="$crates"
rm -rf sysroot
mkdir -p "$library"
find "build/target/$target/release/deps" -name '*.rlib' ! -name 'libsysroot*' \
    -exec cp {} "$library" \;
rm -rf build
echo "$stamp" > "$library/.stamp"
