#!/bin/sh
# jobs.sh - the check lists' engine, sourced by check.sh and matrix.sh: queue small scripts, run them side by side,
# print one line each (OK, FAIL or SKIP, seconds, label, note), count.
#   job LABEL <<'X' ... X      queue a script. exit 0: OK; exit 77: SKIP; anything else: FAIL, its log is shown
#   run_jobs                   run what is queued; fills passed, failed, skipped
# The last line of a job's log becomes its note when it starts with "note: ", or is a test summary.
# `sh jobs.sh FILE` runs the one job FILE.sh, which is how run_jobs calls it.

run_one() {
    label=$(cat "$1.label")
    begin=$(date +%s)
    sh -u "$1.sh" >"$1.log" 2>&1 </dev/null
    rc=$?
    end=$(date +%s)
    note=$(tail -n 1 "$1.log" | sed 's/^note: //;t;/ passed, [0-9]* failed/!d')
    why=$(sed -n 's/^SKIP: //p' "$1.log" | head -n 1)
    case $rc in
    0)  echo OK >"$1.result"
        printf 'OK   %4ds  %s%s\n' $((end - begin)) "$label" "${note:+ ($note)}" ;;
    77) echo SKIP >"$1.result"
        printf 'SKIP    -   %s: %s\n' "$label" "${why:-no reason given}" ;;
    *)  echo FAIL >"$1.result"
        text=$(printf 'FAIL %4ds  %s (exit %d, %s.log)\n' $((end - begin)) "$label" $rc "$1"
               tail -n "${FAIL_LINES:-20}" "$1.log" | cut -c 1-400 | sed 's/^/     | /')
        printf '%s\n' "$text" ;;
    esac
}

case ${0##*/} in jobs.sh) run_one "$1"; exit 0 ;; esac

passed=0 failed=0 skipped=0 queued=0
JOBS=${JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)}

# jobs_in DIR: where queued jobs and their logs live; emptied.
jobs_in() {
    job_dir=$1
    rm -rf "$job_dir"
    mkdir -p "$job_dir"
}

job() {
    queued=$((queued + 1))
    job_file=$(printf '%s/%04d' "$job_dir" "$queued")
    printf '%s\n' "$1" >"$job_file.label"
    { printf '%s\n' "${job_prelude:-}"; cat; } >"$job_file.sh"
    echo "$job_file" >>"$job_dir/queue"
}

run_jobs() {
    [ -f "$job_dir/queue" ] || return 0
    if echo x | xargs -P 2 true 2>/dev/null; then xargs -P "$JOBS" -n 1 sh tests/jobs.sh <"$job_dir/queue"
    else while read -r one; do sh tests/jobs.sh "$one"; done <"$job_dir/queue"; fi
    while read -r one; do
        case $(cat "$one.result" 2>/dev/null) in
        OK) passed=$((passed + 1)) ;;
        SKIP) skipped=$((skipped + 1)) ;;
        *) failed=$((failed + 1)) ;;
        esac
    done <"$job_dir/queue"
    rm -f "$job_dir/queue"
}

# The last line, and the exit status of the list.
finish() {
    if [ $skipped -gt 0 ]; then echo "$passed passed, $failed failed, $skipped skipped"
    else echo "$passed passed, $failed failed"; fi
    [ $failed -eq 0 ] && [ $passed -gt 0 ]
}
