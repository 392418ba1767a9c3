#!/usr/bin/env bash
# Installs what a make target needs: scripts/install.sh build|test|check
#
# Looks first, says what is missing and why, then installs only that. With nothing missing it
# prints nothing and opens no connection. Debian packages are installed on Debian 12 alone;
# elsewhere they are named, and whatever provides the same commands will do.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly RUST_MINIMUM=1.95
readonly CARGO_DENY=0.20.2
readonly VENV=.venv
readonly REQUIREMENTS=tests/requirements.txt

missing=() # Debian packages

say() { printf '%s\n' "install: $*"; }
fail() {
    printf '%s\n' "install: $*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# need PACKAGE REASON COMMAND...: notes PACKAGE as missing unless COMMAND succeeds
need() {
    local package=$1 reason=$2
    shift 2
    "$@" >/dev/null 2>&1 && return
    ((${#missing[@]})) || say "missing Debian packages:"
    missing+=("$package")
    printf '  %-14s %s\n' "$package" "$reason"
}

compiles() { echo 'int main(void){return 0;}' | cc -x c -o /dev/null -; }

on_debian_12() {
    [[ -r /etc/os-release ]] || return 1
    (. /etc/os-release && [[ ${ID:-} == debian && ${VERSION_ID:-} == 12 ]])
}

# install_missing NEEDS: installs what the function NEEDS finds missing, and looks again
install_missing() {
    "$1"
    ((${#missing[@]})) || return 0
    on_debian_12 || fail "not Debian 12: install what provides these, then run this again"
    local -a as_root=()
    if ((EUID != 0)); then
        have sudo || fail "installing needs root or sudo: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "apt-get update, apt-get install ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
    missing=()
    "$1"
    ((${#missing[@]} == 0)) || fail "installed, and yet not found; is PATH complete?"
}

need_rust() {
    local upgrade="install Rust $RUST_MINIMUM or newer (rustup: rustup toolchain install stable)"
    have cargo && have rustc || fail "cargo and rustc are not on the PATH: $upgrade"
    local version oldest
    version=$(rustc --version | awk '{print $2}')
    oldest=$(printf '%s\n' "$RUST_MINIMUM" "$version" | sort -V | head -n 1)
    [[ $oldest == "$RUST_MINIMUM" ]] || fail "rustc $version is too old: $upgrade"
}

need_to_build() {
    need_rust
    need gcc "C compiler: cargo links with cc" have cc
    need libc6-dev "C headers and start files for linking" compiles
}

# The locked crates, for every platform: with them here nothing later asks the network.
fetch_crates() {
    cargo fetch --locked --offline --quiet 2>/dev/null && return
    say "downloading the crates that Cargo.lock names"
    cargo fetch --locked
}

need_to_test() {
    need_to_build
    need socat "pairs of serial ports for the Modbus RTU tests" have socat
    need pkg-config "finds libmodbus" have pkg-config
    need libmodbus-dev "the C Modbus server and client that we test against" pkg-config --exists libmodbus
    need mbpoll "a Modbus client for tries by hand" have mbpoll
    need nats-server "the NATS server of an older kind (2.9) that we test against" test -x /usr/sbin/nats-server
    need openssl "makes certificates for tests" have openssl
    need python3-venv "virtual environment for the Python test servers" python3 -c 'import ensurepip, venv'
}

python_stamp() { (cat "$REQUIREMENTS" && python3 -VV) | sha256sum | cut -d ' ' -f 1; }

install_python_packages() {
    local stamp
    stamp=$(python_stamp)
    [[ -x $VENV/bin/python && $(cat "$VENV/stamp" 2>/dev/null) == "$stamp" ]] && return
    say "Python packages for the test servers, into $VENV:"
    sed -n 's/^\([a-z].*\)/  \1/p' "$REQUIREMENTS"
    rm -rf "$VENV"
    python3 -m venv "$VENV"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --requirement "$REQUIREMENTS"
    "$VENV/bin/python" -m pip check
    printf '%s\n' "$stamp" >"$VENV/stamp"
}

install_component() {
    cargo "$1" --version >/dev/null 2>&1 && return
    have rustup || fail "cargo $1 is missing: install your distribution's package for it"
    say "Rust component $2"
    rustup component add "$2"
}

install_cargo_deny() {
    [[ $(cargo deny --version 2>/dev/null) == "cargo-deny $CARGO_DENY" ]] && return
    say "cargo-deny $CARGO_DENY, from source (a few minutes): checks licences and sources of the crates"
    cargo install --locked cargo-deny --version "$CARGO_DENY"
}

case ${1:-} in
    build)
        install_missing need_to_build
        ;;
    test)
        install_missing need_to_test
        install_python_packages
        ;;
    check)
        install_missing need_to_build
        install_component fmt rustfmt
        install_component clippy clippy
        install_cargo_deny
        ;;
    *)
        echo "usage: scripts/install.sh build|test|check" >&2
        exit 2
        ;;
esac
fetch_crates
