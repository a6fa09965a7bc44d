#!/usr/bin/env bash
# The tests that know more modules than SoftHSM, on one of them.
#
# Usage: VENDKEY_TEST_MODULE=softhsm|nss|kryoptic scripts/test-hsm.sh
set -euo pipefail
cd "$(dirname "$0")/.."

module=${VENDKEY_TEST_MODULE:-}
case $module in
softhsm | nss) scripts/prepare.sh test ;;
kryoptic)
    scripts/prepare.sh kryoptic
    # Its own target folder, so that it is built once and kept.
    echo "==> building kryoptic in tests/kryoptic/target"
    (cd tests/kryoptic && CARGO_TARGET_DIR=target cargo build --locked --release)
    ;;
*)
    echo "say which module: VENDKEY_TEST_MODULE=softhsm, nss or kryoptic" >&2
    exit 64
    ;;
esac
export VENDKEY_TEST_MODULE=$module

output=$(mktemp)
trap 'rm -f "$output"' EXIT
cargo test --locked --test hsm -- --nocapture 2>&1 | tee "$output"
cargo test --locked --test suite -- --nocapture modules:: 2>&1 | tee -a "$output"
echo
echo "==> $module: what was skipped, by what its probes saw"
grep -oE 'skipped on .*' "$output" | sort -u || echo "nothing"
