#!/bin/bash
# Builds releases: for each target a folder and an archive with a static `mote` and libmote.
# usage: tools/release.sh OUT [TARGET...]
#   default: aarch64-unknown-linux-gnu (Raspberry Pi 3, 4, 5 with a 64-bit system) and
#   armv7-unknown-linux-gnueabihf (32-bit). `rustup target add TARGET`, and a C cross-compiler as linker:
#   apt-get install gcc-aarch64-linux-gnu gcc-arm-linux-gnueabihf, or CARGO_TARGET_..._LINKER.
# OUT/mote-VERSION-TARGET/{bin/mote, lib, include, share, README.md, LICENSE-...}, .tar.gz, SHA256SUMS
# share has manual pages and completions. MOTE: this machine's mote that writes them [default: built here]
# mote needs nothing of the system but its kernel; libmote.so needs its C library.
set -euo pipefail
[ $# -ge 1 ] && [[ $1 != -* ]] || { sed -n '2,9s/^# //p' "$0" >&2; exit 2; }
cd "$(dirname "$0")/.."
out=$(mkdir -p "$1" && cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)

if [ -z "${MOTE:-}" ]; then
    cargo build --release --locked -p mote-tools
    MOTE=${CARGO_TARGET_DIR:-target}/release/mote
fi

# shared FOLDER: manual pages and completions, where systems look for them.
shared() {
    "$MOTE" --quiet man --output "$1/man/man1"
    mkdir -p "$1/bash-completion/completions" "$1/zsh/site-functions" "$1/fish/vendor_completions.d"
    "$MOTE" completions bash > "$1/bash-completion/completions/mote"
    "$MOTE" completions zsh > "$1/zsh/site-functions/_mote"
    "$MOTE" completions fish > "$1/fish/vendor_completions.d/mote.fish"
}

# setting NAME TARGET VALUE: cargo's variable for a target, unless it is set.
setting() {
    local name=CARGO_TARGET_${2//-/_}_$1
    name=${name^^}
    [ -n "${!name:-}" ] || export "$name=$3"
    value=${!name}
}

for target in "$@"; do
    # Debian's names of cross-compilers: the triple without the vendor.
    gnu=${target/-unknown/} prefix=
    gnu=${gnu/armv7/arm}
    [ "$target" = "$(rustc -vV | sed -n 's/^host: //p')" ] || prefix=$gnu-
    setting LINKER "$target" "${prefix}gcc"
    # With the mangling of .cargo/config.toml, which this replaces.
    setting RUSTFLAGS "$target" "-C symbol-mangling-version=v0"
    flags=CARGO_TARGET_${target//-/_}_RUSTFLAGS
    to=$out/mote-$version-$target
    rm -rf "$to" && mkdir -p "$to/bin"
    env "${flags^^}=$value -C target-feature=+crt-static" \
        cargo build --profile dist --locked --target "$target" -p mote-tools
    cp "${CARGO_TARGET_DIR:-target}/$target/dist/mote" "$to/bin/"
    "${prefix}strip" "$to/bin/mote"
    CARGO_BUILD_TARGET=$target STRIP=${prefix}strip runtime/capi/install.sh "$to"
    # A folder that may lie anywhere.
    sed -i 's|^prefix=.*|prefix=${pcfiledir}/../..|' "$to/lib/pkgconfig/mote.pc"
    shared "$to/share"
    cp LICENSE-APACHE LICENSE-MIT "$to/"
    cp runtime/capi/README.md "$to/README-libmote.md"
    cp README.md "$to/"
    tar -czf "$to.tar.gz" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$out" "${to##*/}"
done
(cd "$out" && sha256sum ./*.tar.gz > SHA256SUMS)
