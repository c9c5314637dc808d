#!/bin/bash
# Runs the checks of row files one after the other, in the engines' root or in the VM.
# usage: run.sh RUNTIME NAME SLOW ONLY…; ONLY: rows (08) or checks (08-rm), all if there is none.
# Lines for whoever reads begin with @@: `@@ begin CHECK`, what it prints, `@@ end CHECK STATUS` (77: skipped, for the reason in its last
# line), and `@@ done` at the very end.
CHECKS=$(dirname "$(realpath "$0")")
export CHECKS RUNTIME=$1 NAME=$2 SLOW=$3
shift 3
only=("$@")
. "$CHECKS/prelude.sh"
set +eE
trap - ERR

chosen() {
    [ "${#only[@]}" = 0 ] && return
    local one
    for one in "${only[@]}"; do
        case $1 in "$one" | "$one"-*) return ;; esac
    done
    false
}

# In a bash of its own, as whatever it breaks must not reach the next.
run_check() {
    local check=$1 file=$2
    echo "@@ begin $check"
    timeout -k 5 $((LIMIT * SLOW)) bash -c '. "$CHECKS/prelude.sh"; . "$2"; "$1"' - "$check" "$file" </dev/null 2>&1
    echo "@@ end $check $?"
}

# run_row FILE CHECK…: what its engine wants, the checks, and what is left after them.
run_row() {
    local file=$1 row before check output
    shift
    row=$(basename "$file" | cut -c 1-2)
    before=/tmp/traces.$row
    # The file may say otherwise.
    LIMIT=60
    setup() { dockerd_up; }
    clean() { docker_clean; }
    . "$file"
    if ! output=$( (set -e && setup) 2>&1); then
        output+=$'\n'$(tail -n 5 /tmp/dockerd.log /tmp/containerd.log 2>/dev/null)
        for check; do
            printf '@@ begin %s\n%s\n@@ end %s 1\n' "$check" "$output" "$check"
        done
        return
    fi
    traces | sort -u >"$before"
    for check; do
        run_check "$check" "$file"
    done
    echo "@@ begin $row-nothing-left"
    (clean && soon no_new_traces "$before") 2>&1
    echo "@@ end $row-nothing-left $?"
}

for file in "$CHECKS"/[0-9]*.sh; do
    mapfile -t checks < <(grep -oE '^[0-9]{2}-[a-z0-9-]+' "$file")
    wanted=()
    for check in "${checks[@]}"; do
        chosen "$check" && wanted+=("$check")
    done
    # Its functions are its own.
    [ "${#wanted[@]}" = 0 ] || (run_row "$file" "${wanted[@]}")
done
echo "@@ done"
