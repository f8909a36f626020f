#!/bin/bash
# Between cargo and the compiler: the crates whose branches and comparisons guide the fuzzer. The others
# would cost time at every execution: the command line, and kernels, whose branches know no values.
watched='mote|mote_formats|mote_runtime|mote_tools|mote_tests|serde_json|minijinja|minijinja_contrib'
if [[ " $* " =~ " --crate-name "($watched)" " ]]; then
    set -- "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
fi
exec "$@"
