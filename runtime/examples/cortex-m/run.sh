#!/bin/sh
# usage: run.sh PROGRAM    on an emulated board; defmt's frames go to the file DEFMT (defmt.bin).
set -eu
exec timeout 300 qemu-system-arm -M mps2-an500 -nographic -monitor none \
    -serial "file:${DEFMT:-defmt.bin}" -semihosting-config enable=on,target=native \
    -kernel "$1" </dev/null
