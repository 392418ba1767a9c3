#!/usr/bin/env bash
# Checks the dependencies: bans, licences and sources always and offline; advisories where a copy
# of the RustSec database is at hand (cargo deny fetch db), because it can only come from the net.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly DATABASES=${CARGO_HOME:-$HOME/.cargo}/advisory-dbs

cargo deny --locked --offline check --hide-inclusion-graph bans licenses sources
if compgen -G "$DATABASES/*/.git" >/dev/null; then
    cargo deny --locked --offline check --disable-fetch advisories
else
    echo "advisories not checked: no database in $DATABASES (cargo deny fetch db gets one)"
fi
