#!/usr/bin/env bash
# Runs one step of a command of the Makefile: shows what it prints, keeps that in a log, and says how long it took. A signal ends
# all processes of the step. The last line of a failure says which step it was and where its log is.
# Usage: scripts/step.sh LOG TITLE COMMAND...
set -uo pipefail

log=$1 title=$2
shift 2
mkdir -p "$(dirname "$log")"
if [ -t 1 ]; then
    # cargo writes into a pipe here, and would show neither colours nor how far it is.
    export CARGO_TERM_COLOR=always CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH="${COLUMNS:-80}"
fi

# With job control the step is a process group of its own, which can be ended as a whole.
set -m
("$@" 2>&1 < /dev/null | tee "$log") &
group=$!
set +m

interrupted() {
    trap '' INT TERM HUP
    kill -TERM -- "-$group" 2> /dev/null
    for _ in {1..100}; do
        kill -0 -- "-$group" 2> /dev/null || break
        sleep 0.1
    done
    kill -KILL -- "-$group" 2> /dev/null
    wait "$group" 2> /dev/null
    # cargo leaves its progress on the terminal's line.
    [ ! -t 1 ] || echo
    echo "FAIL: interrupted in the step: $title; its log is $log"
    exit "$1"
}
trap 'interrupted 130' INT
trap 'interrupted 143' TERM
trap 'interrupted 129' HUP

echo "==> $title"
wait "$group"
status=$?
if [ "$status" != 0 ]; then
    echo "FAIL in the step: $title; its log is $log"
    exit "$status"
fi
echo "==> $title: done in $SECONDS s"
