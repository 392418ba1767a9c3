#!/usr/bin/env bash
# Compiles the C programs of tests/support against libmodbus into target/test-tools, each only
# when its source is newer. The tests and the load test find them there.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly OUT=${CARGO_TARGET_DIR:-target}/test-tools
mkdir -p "$OUT"
read -ra modbus < <(pkg-config --cflags --libs libmodbus)

for source in tests/support/*.c; do
    program=$OUT/$(basename "$source" .c)
    [[ $program -nt $source ]] && continue
    echo "cc $source"
    # Renamed into place, so that a failed or interrupted build leaves nothing half made.
    cc -std=c11 -O2 -Wall -Wextra -Werror -o "$program.new" "$source" "${modbus[@]}"
    mv "$program.new" "$program"
done
