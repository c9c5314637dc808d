# Ends, and begins again.

ended() {
    docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$1"
}

07-stop() {
    docker run -d --name polite bb sh -c 'trap "echo bye; exit 0" TERM; while :; do sleep 0.1; done' >/dev/null
    sleep 0.5
    docker stop polite >/dev/null
    is 'exited 0' ended polite
    is bye docker logs polite
}

07-stop-143() {
    docker run -d --init --name plain bb sleep 1000 >/dev/null
    docker stop plain >/dev/null
    is 'exited 143' ended plain
}

07-stop-137() {
    docker run -d --name deaf bb sh -c 'trap "" TERM; while :; do sleep 0.1; done' >/dev/null
    local begun=$SECONDS
    docker stop -t 2 deaf >/dev/null
    [ $((SECONDS - begun)) -ge 2 ] || fail "SIGKILL came before its time"
    is 'exited 137' ended deaf
}

07-start() {
    docker run --name again bb sh -c 'echo run >>/tmp/runs; cat /tmp/runs' >/dev/null
    is $'run\nrun' docker start -a again
}

07-restart() {
    docker run -d --name kept bb sh -c 'exec sleep 1000' >/dev/null
    docker exec kept sh -c 'echo mine >/changed'
    local before
    before=$(docker inspect --format '{{.State.Pid}}' kept)
    docker restart -t 0 kept >/dev/null
    is mine docker exec kept cat /changed
    [ "$(docker inspect --format '{{.State.Pid}}' kept)" != "$before" ] || fail "the same process"
}

07-restart-policy() {
    docker run -d --restart on-failure:2 --name stubborn bb sh -c 'exit 9' >/dev/null
    soon eval "docker inspect --format '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}' stubborn | grep -x '2 exited 9'"
}

07-wait() {
    docker run -d --name ends bb sh -c 'sleep 0.5; exit 6' >/dev/null
    is 6 docker wait ends
}

07-kill() {
    docker run -d --name hears bb sh -c 'trap "echo usr1" USR1; while :; do sleep 0.1; done' >/dev/null
    sleep 0.5
    docker kill -s USR1 hears >/dev/null
    soon eval 'docker logs hears | grep -x usr1'
    docker kill hears >/dev/null
    soon eval "docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' hears | grep -x 'exited 137'"
    refuses 'is not running' docker kill hears
}

07-stop-signal() {
    # Apache's.
    docker run -d --name apache --stop-signal WINCH bb sh -c 'trap "echo bye; exit 0" WINCH; while :; do sleep 0.1; done' >/dev/null
    sleep 0.5
    absent docker logs apache
    docker stop apache >/dev/null
    is 'exited 0' ended apache
    is bye docker logs apache
}
