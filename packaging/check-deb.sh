#!/usr/bin/env bash
# Unpacks a package and looks at what a user would get: the program runs, finds its plugins, and has its pages.
# Usage: packaging/check-deb.sh FILE.deb
set -euo pipefail

package=$1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
dpkg-deb -x "$package" "$root"
dpkg-deb -e "$package" "$root/DEBIAN"

fail() {
    echo "error: $*" >&2
    exit 1
}

"$root/usr/bin/ebb" --version
plugins=$(env -i HOME="$root" "$root/usr/bin/ebb" plugins list)
for name in postgres mysql; do
    grep -q "^$name	.*$root/usr/bin/../lib/ebb/libebb_$name.so" <<< "$plugins" || fail "plugin $name is not found: $plugins"
done
for file in lib/systemd/system/ebb.service etc/ebb/ebb.toml usr/share/man/man1/ebb.1.gz usr/share/man/man1/ebb-fetch.1.gz \
    usr/share/bash-completion/completions/ebb usr/share/zsh/vendor-completions/_ebb \
    usr/share/fish/vendor_completions.d/ebb.fish usr/share/ebb/monitoring/alerts.yml \
    usr/share/ebb/monitoring/dashboard.json usr/share/doc/ebb/docs/alerts.md usr/share/doc/ebb/README.md; do
    [ -s "$root/$file" ] || fail "$file is missing"
done
# The example is a file that the program reads; it lacks the databases only.
shown=$(EBB_SOURCE=postgres://a@b/c EBB_TARGET=postgres://a@b/c "$root/usr/bin/ebb" config show fetch \
    --config "$root/etc/ebb/ebb.toml" --changefeeds-path "$root/none.json" 2>&1 || true)
grep -q "none.json cannot be read" <<< "$shown" || fail "the example of settings is not read: $shown"
if command -v systemd-analyze > /dev/null; then
    mkdir "$root/verify"
    sed "s|/usr/bin/ebb|$root/usr/bin/ebb|" "$root/lib/systemd/system/ebb.service" > "$root/verify/ebb.service"
    verified=$(systemd-analyze verify --man=no "$root/verify/ebb.service" 2>&1 || true)
    ! grep "ebb.service" <<< "$verified" || fail "the unit: $verified"
    # Tenths of 0 (closed) to 10 (open); versions before 250 cannot say it of a file.
    if systemd-analyze security --help | grep -q -- --offline; then
        systemd-analyze security --offline=yes --threshold=15 --no-pager "$root/verify/ebb.service" > "$root/security" 2>&1 \
            || fail "the unit leaves too much open: $(tail -n 1 "$root/security")"
    fi
fi
sh -n "$root/DEBIAN/postinst" && sh -n "$root/DEBIAN/postrm"
grep -q '^/etc/ebb/ebb.toml$' "$root/DEBIAN/conffiles" || fail "ebb.toml is no conffile: an update would write over it"
echo "$package is complete"
