#!/usr/bin/env bash
# Installs those of the given Debian packages that are missing, when run as root; else says in one command what to paste.
# Usage: scripts/packages.sh PACKAGE...
set -euo pipefail

missing=()
for package in "$@"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
rust=
command -v "${CARGO:-cargo}" > /dev/null ||
    rust="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\""

if [ "${#missing[@]}" != 0 ] && [ "$(id -u)" = 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    # A machine that has just been started may be installing updates.
    scripts/step.sh target/logs/packages.log "install ${missing[*]}" \
        sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"' sh "${missing[@]}"
    missing=()
fi
command=
[ "${#missing[@]}" = 0 ] ||
    command="sudo apt-get update && sudo apt-get install --yes --no-install-recommends ${missing[*]}"
[ -z "$rust" ] || command="${command:+$command && }$rust"
if [ -n "$command" ]; then
    printf 'What is needed is missing. This command installs it:\n%s\n' "$command"
    exit 1
fi
