#!/bin/bash
# Writes a GGUF file as a C header to standard output.    usage: embed.sh MODEL.gguf > model.h
set -euo pipefail
size=$(wc -c < "$1")
echo "#include <stddef.h>"
echo "#include <stdint.h>"
echo "static const size_t model_size = $size;"
echo "static const uint64_t model[] = {"
od -An -v -t x8 --endian=little -w64 "$1" | sed 's/ \([0-9a-f]\)/ 0x\1/g; s/\([0-9a-f]\) /\1, /g; s/$/,/'
echo "};"
