#!/usr/bin/env bash
# Sets the project up: scripts/setup.sh [run|test|docs|package]. Quick when nothing has changed since the last time.
#   run   .venv in the root with the pinned packages
#   test  the same, and Chromium, Firefox, Prometheus, nginx and coturn for the tests that need them
#   docs  the same as run, and MkDocs
#   package  the same as run, and what builds and checks a release
# PYTHON names the interpreter to take, otherwise the first fitting one on the PATH is taken.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mode=${1:-run}
export PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 DEBIAN_FRONTEND=noninteractive
cpu_index=https://download.pytorch.org/whl/cpu

say() { printf '[setup] %s\n' "$*"; }
stop() { printf '[setup] Stopped: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo -n --preserve-env=DEBIAN_FRONTEND "$@"
    else return 1; fi
}

apt_install() {
    command -v apt-get >/dev/null || return 1
    as_root apt-get update -qq >/dev/null 2>&1 || return 1
    as_root apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            command -v "$candidate"
            return
        fi
    done
    stop "no Python 3.11 or newer found${PYTHON:+ (PYTHON=$PYTHON)}; install one, or name it: PYTHON=/path/to/python3 make $mode"
}

# Neither after an upgrade of its interpreter nor after a move of its folder does an environment work: its packages are below
# the version's name, and its commands begin with the place of its interpreter.
fits() {
    [ -x .venv/bin/pip ] && .venv/bin/python -c 'import pip' 2>/dev/null \
        && head -n 2 .venv/bin/pip | grep -qF "$(cd .venv && pwd -P)/bin/"
}

make_venv() {
    local python
    if fits; then return; fi
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        apt_install python3-venv || stop "$python has no venv module; install it: apt-get install python3-venv"
    fi
    say "making .venv with $python"
    "$python" -m venv --clear .venv
}

# A CUDA build of torch is a download of about 3 GB that a machine without an NVIDIA GPU has no use for.
guard_torch() {
    local version
    version=$(sed -n 's/^torch==//p' constraints.txt)
    if [ "$(uname -s)" != Linux ] || [ -e /dev/nvidiactl ] || [ -n "${PP1_ALLOW_CUDA_TORCH:-}" ]; then return; fi
    if .venv/bin/python -c 'import torch' 2>/dev/null || sees_cpu_build "$version"; then return; fi
    export PIP_EXTRA_INDEX_URL="${PIP_EXTRA_INDEX_URL:-} $cpu_index"
    if sees_cpu_build "$version"; then
        say "no NVIDIA GPU found: taking the CPU build of torch from $cpu_index"
        return
    fi
    stop "no NVIDIA GPU found, and pip sees only the CUDA build of torch $version (about 3 GB). Give pip an index with the" \
        "CPU build (PIP_EXTRA_INDEX_URL=$cpu_index make $mode), or take the CUDA build: PP1_ALLOW_CUDA_TORCH=1 make $mode"
}

sees_cpu_build() { .venv/bin/python -m pip index versions torch 2>/dev/null | grep -F "$1+cpu" >/dev/null; }

install_packages() {
    local stamp log=.venv/setup.log
    stamp=.venv/.set-up-$(cat pyproject.toml constraints.txt | sha256sum | cut -c1-16)
    if [ -e "$stamp" ] && fits; then return; fi
    make_venv
    guard_torch
    say "installing the packages (about 2 GB on disk, 1 to 4 minutes; all output in $log)"
    show_unpacked "$log" &
    unpacked=$!
    trap 'kill "$unpacked" 2>/dev/null || true' EXIT
    if ! .venv/bin/python -m pip install --progress-bar off -c constraints.txt -e '.[dev]' 2>&1 | tee "$log" | show_progress
    then
        tail -n 15 "$log" >&2
        stop "pip could not install the packages; its whole output is in $log"
    fi
    kill "$unpacked" 2>/dev/null || true
    rm -f .venv/.set-up-*
    touch "$stamp"
    say "the packages are installed"
}

# One line for each larger download and for the final step.
show_progress() {
    sed -un -e 's/^ *Downloading \([^ ]*\) (\([0-9.]*\) MB).*/[setup]   \1, \2 MB/p' \
        -e 's/^Installing collected packages.*/[setup]   unpacking/p'
}

count_packages() { find .venv/lib -maxdepth 3 -name '*.dist-info' | wc -l; }

# While pip unpacks, which it does without a word: how far it is, now and then.
show_unpacked() {  # LOG: of pip
    local before total now last=
    before=$(count_packages)
    while sleep 10 >/dev/null 2>&1; do
        total=$(sed -n 's/^Installing collected packages: //p' "$1" 2>/dev/null | tr ',' '\n' | wc -l)
        now=$(($(count_packages) - before))
        if [ "$total" -gt 0 ] && [ "$now" != "$last" ]; then say "  $now of $total packages are unpacked"; fi
        last=$now
    done
}

find_chromium() {
    if command -v chromium chromium-browser google-chrome >/dev/null; then return; fi
    .venv/bin/python -c '
import os, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as p:
    sys.exit(not os.path.exists(p.chromium.executable_path))' 2>/dev/null
}

get_chromium() {
    if find_chromium; then return; fi
    say "installing Chromium for the browser tests"
    if apt_install chromium fonts-dejavu-core && find_chromium; then return; fi
    if .venv/bin/python -m playwright install chromium >/dev/null 2>&1 && find_chromium; then return; fi
    say "Chromium is missing and could not be installed: the tests in a browser will be skipped"
}

# Debian's own, not playwright's, which is a patched one.
get_firefox() {
    if command -v firefox-esr firefox >/dev/null; then return; fi
    say "installing Firefox for the browser tests"
    apt_install firefox-esr || say "Firefox is missing and could not be installed: the tests in it will be skipped"
}

# Only the binaries are wanted, not a service on this machine: the package is unpacked inside .venv.
get_unpacked() {  # PACKAGE OPTION BINARY...: the option makes the first binary tell its version
    local folder package=$1 option=$2
    shift 2
    if PATH="$PWD/.venv/bin:$PATH" command -v "$package" >/dev/null; then return; fi
    say "fetching $package for the tests that need it"
    folder=$(mktemp -d)
    if (cd "$folder" && fetch_deb "$package" && dpkg -x "$package"_*.deb . && "./$1" "$option") >/dev/null 2>&1
    then
        (cd "$folder" && cp "$@" "$OLDPWD/.venv/bin/")
    else
        say "$package is missing and could not be fetched: the tests that need it will be skipped"
    fi
    rm -rf "$folder"
}

# It needs more libraries than the others: those that are missing here are put beside it.
get_turnserver() {
    local folder missing library=.venv/lib/coturn
    if PATH="$PWD/.venv/bin:$PATH" command -v turnserver; then return; fi
    say "fetching coturn for the tests that need it"
    folder=$(mktemp -d)
    missing=$(apt-get -s --no-install-recommends install coturn 2>/dev/null | sed -n 's/^Inst \([^ ]*\).*/\1/p')
    if (cd "$folder" && for each in ${missing:-coturn}; do fetch_deb "$each" && dpkg -x "$each"_*.deb .; done
        LD_LIBRARY_PATH=$(echo usr/lib/*-linux-gnu) usr/bin/turnserver --version) >/dev/null 2>&1
    then
        mkdir -p "$library"
        cp -P "$folder"/usr/lib/*-linux-gnu/*.so* "$folder/usr/bin/turnserver" "$library/"
        printf '%s\n' '#!/bin/sh' 'there=$(dirname "$(readlink -f "$0")")/../lib/coturn' \
            'LD_LIBRARY_PATH=$there exec "$there/turnserver" "$@"' > .venv/bin/turnserver
        chmod +x .venv/bin/turnserver
    else
        say "coturn is missing and could not be fetched: the tests that need it will be skipped"
    fi
    rm -rf "$folder"
}

fetch_deb() { apt-get download "$1" || { as_root apt-get update && apt-get download "$1"; }; }

get_mkdocs() {
    if [ -x .venv/bin/mkdocs ]; then return; fi
    say "installing MkDocs"
    .venv/bin/python -m pip install -q -c constraints.txt -e '.[docs]' || stop "pip could not install MkDocs"
}

get_release_tools() {
    if [ -x .venv/bin/twine ]; then return; fi
    say "installing the tools of a release"
    .venv/bin/python -m pip install -q -c constraints.txt -e '.[release]' || stop "pip could not install the tools of a release"
}

case $mode in
    run) install_packages ;;
    test) install_packages; get_chromium; get_firefox
        get_unpacked prometheus --version usr/bin/prometheus usr/bin/promtool
        get_unpacked nginx -v usr/sbin/nginx
        get_turnserver ;;
    docs) install_packages; get_mkdocs ;;
    package) install_packages; get_release_tools ;;
    *) stop "unknown mode '$mode': run, test, docs or package" ;;
esac
