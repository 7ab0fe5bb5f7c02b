#!/usr/bin/env bash
# Runs as a service of the systemd that boot.sh has started: the units hold a session while server,
# holder and guardian are killed, and while both are replaced by another program. Its report is
# /out/report, whose last line is "passed" or says what was not as expected.
exec >/out/report 2>&1
shopt -s lastpipe
export STAYD_STATE_DIR=/var/lib/stayd/tester
holder=stayd-holder@tester.service server=stayd@tester.service

fail() {
    echo "failed: $*"
    systemctl status --no-pager "$holder" "$server"
    journalctl --no-pager -u "$holder" -u "$server" | tail -n 50
    ps -eo pid,ppid,stat,etimes,args | grep -v '\['
    exec systemctl poweroff -ff
}
stayd() { runuser -u tester --preserve-environment -- /usr/local/bin/stayd "$@"; }
property() { systemctl show --property "$2" --value "$1"; }
read_pid() { cat "$STAYD_STATE_DIR/$1.pid"; }
# Looks until something is so, for a minute at most.
await() {
    local what=$1 until=$((SECONDS + 60))
    shift
    while [ $SECONDS -lt $until ]; do
        "$@" >/dev/null 2>&1 && return
        sleep 0.02
    done
    fail "$what"
}
# Whether both hold the sessions, `$1` is none of them, and systemd knows the guardian.
whole() {
    local guardian parent
    guardian=$(read_pid guardian) && parent=$(ps -o ppid= -p "$(read_pid holder)") &&
        [ "$((parent))" = "$guardian" ] && [ "$guardian" != "$1" ] && [ "$(read_pid holder)" != "$1" ] &&
        [ "$(property "$holder" MainPID)" = "$guardian" ]
}
answers() { stayd ls; }
serves_another() { [ "$(property "$server" MainPID)" -gt 1 ] && [ "$(property "$server" MainPID)" != "$1" ] && answers; }
leads() { [ "$(stayd ls --json | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' | head -n 1)" = "$leader" ]; }

systemctl start "$server" || fail "the units do not start"
await "no server answers" answers
stayd run -d --name count -- bash -c 'while :; do echo line $((++i)); sleep 0.002; done' || fail "no session"
# The oldest: what it has just forked for a sleep looks like it for a moment.
leader=$(pgrep -o -f 'echo line')
await "the session's process is not $leader" leads

for round in 1 2 3; do
    for who in holder guardian; do
        victim=$(read_pid $who)
        kill -9 "$victim"
        await "the $who was killed, and there is no pair" whole "$victim"
        await "the $who was killed, and the session has another process" leads
        [ "$(property "$holder" ActiveState)" = active ] || fail "the $who was killed, and its unit is not active"
    done
done
echo "killed holder and guardian three times each"

before=$(property "$server" MainPID)
systemctl restart "$server" || fail "the server does not restart"
await "the server was restarted and does not answer" serves_another "$before"
await "the server was restarted, and the session has another process" leads
before=$(property "$server" MainPID)
kill -9 "$before"
await "the server was killed and does not answer" serves_another "$before"
await "the server was killed, and the session has another process" leads
echo "restarted and killed the server"

cp /usr/local/bin/stayd /usr/local/bin/other && mv /usr/local/bin/other /usr/local/bin/stayd
stayd upgrade || fail "no upgrade"
await "the pair was upgraded and is not whole" whole 0
await "the pair was upgraded, and the session has another process" leads
echo "upgraded"

stayd logs count | tr -d '\r' | sed -n 's/^line \([0-9]*\)$/\1/p' >/out/lines
awk 'NR > 1 && $1 != last + 1 { exit 1 } { last = $1 }' /out/lines || fail "lines are missing"
[ "$(wc -l </out/lines)" -gt 50 ] || fail "too few lines"
echo "no line is missing"

systemctl stop "$holder" || fail "the holder's unit does not stop"
[ -d "/proc/$leader" ] && fail "the holder's unit was stopped, and a session goes on"
# A unit of which a process was killed once is "failed" when it has stopped.
[[ $(property "$holder" ActiveState) =~ ^(inactive|failed)$ ]] || fail "the holder's unit was stopped and runs"
[ "$(property "$server" ActiveState)" = inactive ] || fail "the holder's unit was stopped, and the server's was not"
systemctl start "$server" || fail "the units do not start again"
await "no server answers after a stop" answers
stayd run -d --name stubborn -- bash -c 'trap "" HUP TERM; while :; do sleep 1; done' || fail "no second session"
# Both in the same instant: the sessions end, and whoever comes first starts another holder. The
# holder's unit stands for it in any case. The guardian is stopped before, since it may be so quick
# between the two that the next holder has the sessions when it dies.
kill -STOP "$(read_pid guardian)"
is_stopped() { [ "$(ps -o state= -p "$(read_pid guardian)")" = T ]; }
await "the guardian does not stop" is_stopped
kill -9 "$(read_pid holder)" "$(read_pid guardian)"
new_pair() { answers && [ "$(property "$holder" ActiveState)" = active ] && ! pgrep -f 'trap .. HUP TERM'; }
await "holder and guardian were killed together, and none was started" new_pair
stayd run -d --name next -- sleep 100 || fail "no session after that"
echo "killed holder and guardian together"
systemctl stop "$holder" || fail "the holder's unit does not stop again"
pgrep -u tester stayd && fail "the holder's unit was stopped, and processes of stayd go on"
echo passed
exec systemctl poweroff -ff
