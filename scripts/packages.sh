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
[ "${#missing[@]}" != 0 ] || [ -n "$rust" ] || exit 0

is_root=$([ "$(id -u)" != 0 ] || echo yes)
if [ -n "$is_root" ] && [ -z "$rust" ]; then
    export DEBIAN_FRONTEND=noninteractive
    # A machine that has just been started may be installing updates: its lock is waited for.
    exec scripts/step.sh target/logs/packages.log "install ${missing[*]}" \
        sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"' \
        sh "${missing[@]}"
fi

# Rust's own installer is fetched with curl.
[ -z "$rust" ] || command -v curl > /dev/null || missing+=(curl ca-certificates)
command=
if [ "${#missing[@]}" != 0 ]; then
    sudo=$([ -n "$is_root" ] || echo "sudo ")
    command="${sudo}apt-get update && ${sudo}apt-get install --yes --no-install-recommends ${missing[*]}"
fi
[ -z "$rust" ] || command="${command:+$command && }$rust"
printf 'What is needed is missing. This command installs it:\n%s\n' "$command"
exit 1
