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
# Servers are where root's PATH has them; the tests look there too.
have_server() { PATH=$PATH:/usr/sbin:/sbin have "$1"; }
have_faketime() { compgen -G '/usr/lib/*/faketime/libfaketime.so.1'; }

on_debian_12() {
    [[ -r /etc/os-release ]] || return 1
    (. /etc/os-release && [[ ${ID:-} == debian && ${VERSION_ID:-} == 12 ]])
}

# apt_install [sudo]: installs what is missing, and lets none of it start a service: the tests run
# servers of their own, and a broker that nobody asked for would listen on this machine. Debian asks
# policy-rc.d (101: not allowed); one that is there already is the administrator's and stays.
apt_install() {
    local policy=/usr/sbin/policy-rc.d code=0
    local -a ours=()
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' | "$@" tee "$policy" >/dev/null
        "$@" chmod 755 "$policy"
        ours=("$policy")
    fi
    "$@" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null || code=$?
    ((${#ours[@]} == 0)) || "$@" rm -f "${ours[@]}"
    return "$code"
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
    apt_install "${as_root[@]}"
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
    need cmake "builds the C library below paho-mqtt" have cmake
    need make "what cmake builds with" have make
    need pkg-config "finds OpenSSL" have pkg-config
    need libssl-dev "OpenSSL: TLS of MQTT sessions" pkg-config --exists 'openssl >= 3.0'
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
    need libmodbus-dev "the C Modbus server and client that we test against" pkg-config --exists libmodbus
    need mbpoll "a Modbus client for tries by hand" have mbpoll
    need mosquitto "MQTT broker" have_server mosquitto
    need mosquitto-clients "MQTT clients, and mosquitto_passwd" have mosquitto_pub
    need nats-server "NATS with JetStream, as Debian has it; a newer one comes with the Python packages" have_server nats-server
    need libfaketime "clocks that jump" have_faketime
    need openssl "certificates for the tests" have openssl
    need curl "an HTTPS client" have curl
    need sslscan "looks for weaknesses of TLS servers" have sslscan
    need testssl.sh "the same" have testssl
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
