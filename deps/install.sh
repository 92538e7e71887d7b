#!/bin/sh
# Installs the Debian packages of deps/packages that are missing.
# usage: deps/install.sh [build] [test] [optional]     (default: build)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
kinds=${*:-build}

installed() {
    # A line per architecture it is known in.
    dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# A tool that came some other way than as a package serves as well.
present() {
    case $1 in
    nodejs) command -v node >/dev/null 2>&1 ;;
    npm | make | gcc | clang | clang-format | python3)
        command -v "$1" >/dev/null 2>&1 ;;
    *) return 1 ;;
    esac
}

missing=
for kind in $kinds; do
    for package in $(awk -v k="$kind" '$1 == k { print $2 }' "$here/packages"); do
        installed "$package" || present "$package" || missing="$missing $package"
    done
done
if [ -z "$missing" ]; then
    exit 0
fi

if ! command -v apt-get >/dev/null 2>&1; then
    echo "deps: this is not a Debian system; please install:$missing" >&2
    exit 1
fi
root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "deps: need root to install:$missing" >&2
        exit 1
    }
    root=sudo
fi
echo "deps: installing$missing"
# sudo hands on no environment, so it is set behind it.
apt="$root env DEBIAN_FRONTEND=noninteractive apt-get"
$apt update -q >/dev/null
# shellcheck disable=SC2086
$apt install -y -q --no-install-recommends $missing >/dev/null
echo "deps: installed$missing"
