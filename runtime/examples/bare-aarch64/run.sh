#!/bin/sh
# usage: run.sh PROGRAM    with SmolLM2-135M (models/fetch.sh smollm2-135m), or the file MODEL,
# placed in memory by the loader. A program that hangs is stopped after ten minutes.
set -eu
model=${MODEL:-$(dirname "$0")/../../../models/SmolLM2-135M-Instruct.Q4_1.gguf}
exec timeout 600 qemu-system-aarch64 -M virt -cpu "${QCPU:-cortex-a72}" -m 512M -nographic -nic none \
    -monitor none -serial stdio -semihosting-config enable=on,target=native -kernel "$1" \
    -device "loader,file=$model,addr=0x50000000,force-raw=on" </dev/null
