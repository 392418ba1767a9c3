#!/usr/bin/env bash
# Checks the dependencies: bans, licences and sources always and offline; advisories where a copy
# of the RustSec database is at hand, because it can only come from the network.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly DATABASES=${CARGO_HOME:-$HOME/.cargo}/advisory-dbs

cargo deny --frozen check --hide-inclusion-graph bans licenses sources
database=$(compgen -G "$DATABASES/advisory-db-*/.git" | head -n 1) || true
if [[ -n $database ]]; then
    echo "advisories as of $(git --git-dir="$database" log -1 --format=%cs) (cargo deny fetch db renews them)"
    cargo deny --frozen check advisories
else
    echo "advisories not checked: no database in $DATABASES (cargo deny fetch db gets one)"
fi
