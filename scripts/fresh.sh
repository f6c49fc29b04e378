#!/usr/bin/env bash
# Both commands of the README on a machine that has nothing: makes a bare Debian in a temporary folder, clones HEAD into it, and runs
# `make demo` and `make test` there, with the Rust toolchain of this machine and registries that were never asked before.
# Mounts and processes are in namespaces of their own and go with them, whatever happens; the folder is removed at the end.
# Usage: scripts/fresh.sh (as root); SUITE and MIRROR choose another Debian
set -euo pipefail

SUITE=${SUITE:-bookworm}
# What a person who has Rust has besides.
INCLUDE=build-essential,git,make,curl,ca-certificates
# The variables of this machine without which registries may not be reached.
PASSED='^((CARGO_(HTTP|NET|REGISTR|SOURCE)[A-Z0-9_]*)|((https?|all|no|ftp)_proxy)|((HTTPS?|ALL|NO|FTP)_PROXY)|TERM)='

say() {
    echo "fresh: $*"
}

# The folder of the toolchain that the directory's rust-toolchain.toml chooses.
toolchain() {
    local sysroot
    sysroot=$("${RUSTC:-rustc}" --print sysroot)
    for program in cargo cargo-clippy cargo-fmt rustc rustfmt; do
        [ -x "$sysroot/bin/$program" ] || {
            echo "error: $sysroot/bin/$program is missing, and there is one toolchain inside and outside; install it with rustup" >&2
            return 1
        }
    done
    echo "$sysroot"
}

# Debian's sources as this machine has them: lines of uri, suite and component.
sources() {
    apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT) $(ORIGIN)' 'Created-By: Packages' 2> /dev/null |
        awk -v suite="$SUITE" '$4 == "Debian" && ($2 == suite || index($2, suite "-") == 1) && $3 == "main" { print $1, $2, $3 }' | sort -u
}

make_root() {
    local root=$1 mirror
    mirror=${MIRROR:-$(sources | awk -v suite="$SUITE" '$2 == suite { print $1; exit }')}
    mirror=${mirror:-http://deb.debian.org/debian}
    say "a bare Debian $SUITE from $mirror, in $root: 1 to 3 minutes"
    debootstrap --variant=minbase --include="$INCLUDE" "$SUITE" "$root" "$mirror" > "$root.log" 2>&1 || {
        tail -n 20 "$root.log" "$root/debootstrap/debootstrap.log" 2> /dev/null || true
        return 1
    }
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    if [ -z "${MIRROR:-}" ] && [ -n "$(sources)" ]; then
        sources | sed 's/^/deb /' > "$root/etc/apt/sources.list"
    fi
    # How packages are fetched here (proxies, clocks), and nothing else of this machine's settings.
    apt-config dump Acquire | grep -E '^Acquire::((https?|ftp)::|Check-|Retries|ForceIPv)' > "$root/etc/apt/apt.conf.d/90fresh" || true
    trust "$root"
    mkdir -p "$root/root/.cargo"
    local config
    for config in "${CARGO_HOME:-$HOME/.cargo}"/config.toml "${CARGO_HOME:-$HOME/.cargo}"/config; do
        [ ! -f "$config" ] || cp "$config" "$root/root/.cargo/"
    done
}

# Authorities that this machine trusts besides Debian's, such as those of a proxy.
trust() {
    local root=$1 bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
    [ -f "$bundle" ] || return 0
    awk -v folder="$root/usr/local/share/ca-certificates" \
        '/BEGIN CERTIFICATE/ { file = sprintf("%s/fresh-%03d.crt", folder, ++count) } file { print > file } /END CERTIFICATE/ { close(file); file = "" }' "$bundle"
    chroot "$root" update-ca-certificates > "$root.log" 2>&1 || { tail "$root.log"; return 1; }
}

mount_all() {
    local root=$1 sysroot=$2 node
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t tmpfs -o mode=755 dev "$root/dev"
    for node in null zero full random urandom tty; do
        : > "$root/dev/$node"
        mount --bind "/dev/$node" "$root/dev/$node"
    done
    mkdir "$root/dev/shm" "$root/dev/pts"
    mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    mkdir -p "$root/opt/rust"
    mount --bind "$sysroot" "$root/opt/rust"
    mount -o remount,bind,ro "$root/opt/rust"
}

# Runs a command in the clone as a login would, and nothing else of this machine's environment.
inside() {
    local root=$1 passed
    shift
    mapfile -t passed < <(env | grep -E "$PASSED")
    chroot "$root" /usr/bin/env -i "${passed[@]}" HOME=/root USER=root LANG=C.UTF-8 \
        PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        sh -c 'cd /root/ebb && exec "$@"' sh "$@"
}

# The first process of the namespaces.
first_process() {
    local root=$1 sysroot=$2 command start times=()
    make_root "$root" || { say "FAIL in the step: make a bare Debian"; exit 1; }
    mount_all "$root" "$sysroot"
    git clone --quiet --no-hardlinks "$PWD" "$root/root/ebb"
    for command in demo test; do
        say "make $command"
        start=$SECONDS
        inside "$root" make "$command" || {
            rm -rf target/logs/fresh
            mkdir -p target/logs
            cp -R "$root/root/ebb/target/logs" target/logs/fresh || true
            say "FAIL in the step: make $command, after $((SECONDS - start)) s; its logs are in target/logs/fresh"
            exit 1
        }
        times+=("make $command: $(((SECONDS - start) / 60)) min $(((SECONDS - start) % 60)) s")
    done
    say "PASS on a bare Debian $SUITE with $(nproc) cores, packages and crates downloaded:"
    printf 'fresh:   %s\n' "${times[@]}"
}

folder=
namespaces=
# All mounts are in the namespaces: once those have ended, the folder is nothing but files.
clean_up() {
    [ -z "$namespaces" ] || kill -KILL "$namespaces" 2> /dev/null || true
    [ -z "$namespaces" ] || wait "$namespaces" 2> /dev/null || true
    [ -z "$folder" ] || rm -rf --one-file-system "$folder"
}

interrupted() {
    trap '' INT TERM HUP
    say "FAIL: interrupted; removing $folder"
    exit "$1"
}

main() {
    [ "$(id -u)" = 0 ] || {
        echo "error: a root folder of Debian is made by root only; run: sudo env \"PATH=\$PATH\" make fresh" >&2
        exit 1
    }
    cd "$(dirname "$0")/.."
    [ -z "$(git status --porcelain)" ] || say "changes that are not committed are not in the clone"
    local sysroot status=0
    sysroot=$(toolchain)
    trap clean_up EXIT
    trap 'interrupted 130' INT
    trap 'interrupted 143' TERM
    trap 'interrupted 129' HUP
    folder=$(mktemp -d "${TMPDIR:-/var/tmp}/ebb-fresh.XXXXXX")
    mkdir "$folder/root"
    # The namespaces end with their first process, and that with this one, however this one ends.
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child scripts/fresh.sh --inside "$folder/root" "$sysroot" < /dev/null &
    namespaces=$!
    wait "$namespaces" || status=$?
    namespaces=
    exit "$status"
}

# Read as a whole before it runs, so that nothing happens when this file changes meanwhile.
{
    if [ "${1:-}" = --inside ]; then
        first_process "$2" "$3"
    else
        main
    fi
    exit
}
