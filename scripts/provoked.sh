#!/usr/bin/env bash
# Compares the codes that docs/errors.md explains with those that the tests have provoked, which note each as a file of the
# folder PROVOKED. A code that no test provokes needs a comment in its section that says why; one that has the comment and is
# provoked all the same needs it no more, unless the comment says that not every machine can.
# Usage: scripts/provoked.sh PAGE PROVOKED
set -euo pipefail

page=$1 provoked=$2
marked() {
    awk -v mark="<!-- $1: ." '/^## EBB-/ { code = $2; sub(/:.*/, "", code) } $0 ~ "^" mark { print code }' "$page" | sort
}
never=$(marked 'not provoked')
excused=$(sort -u <(echo "$never") <(marked 'not provoked everywhere'))
explained=$(sed -n 's/^## \(EBB-[A-Z][0-9]*\):.*/\1/p' "$page" | sort)
noted=$(find "$provoked" -type f -name 'EBB-*' -printf '%f\n' | sort)

missing=$(comm -23 <(echo "$explained") <(sort -u <(echo "$noted") <(echo "$excused")))
stale=$(comm -12 <(echo "$noted") <(echo "$never"))
[ -z "$missing" ] || printf 'no test provokes %s\n' $missing
[ -z "$stale" ] || printf '%s is provoked, and %s says that it is not\n' $(for code in $stale; do echo "$code $page"; done)
[ -z "$missing$stale" ] || exit 1
echo "$(wc -w <<< "$noted") codes were provoked, $(wc -w <<< "$never") cannot be"
