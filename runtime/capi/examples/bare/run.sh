#!/bin/bash
# Builds bare.c with a libmote.a without the standard library, for an emulated Cortex-M7, and runs it.
# usage: run.sh LIBMOTE_A MODEL OUT_FOLDER      LIBMOTE_A for thumbv7em-none-eabihf
# CC: any gcc for ARM (arm-none-eabi-gcc; default arm-linux-gnueabihf-gcc, of which only the compiler is used)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
library=$1 model=$2 out=$3
mkdir -p "$out"
"$here/../embed.sh" "$model" > "$out/model.h"
"${CC:-arm-linux-gnueabihf-gcc}" -std=c99 -Wall -Wextra -Werror -O1 -mcpu=cortex-m7 -mthumb -mfloat-abi=hard \
    -mfpu=fpv5-sp-d16 -ffreestanding -fno-builtin -fno-pic -I"$out" -I"$here/../../include" \
    -nostdlib -nostartfiles -static -no-pie -Wl,--gc-sections,--build-id=none -T "$here/mps2_an500.ld" \
    -o "$out/bare" "$here/bare.c" "$here/mps2_an500.c" "$library"
# Semihosting writes to qemu's standard error.
exec timeout 300 qemu-system-arm -M mps2-an500 -nographic -monitor none -serial none \
    -semihosting-config enable=on,target=native -kernel "$out/bare" < /dev/null 2>&1
