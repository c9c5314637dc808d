# Gone, with all that it was made of.
LIMIT=300

gone() {
    soon no_new_traces /tmp/traces.08
}

08-rm() {
    docker run --name ended bb true
    docker rm ended
    gone
}

08-rm-running() {
    docker run -d --name runs bb sleep 1000 >/dev/null
    refuses 'is running' docker rm runs
    docker rm -f runs
    gone
}

08-rm-created() {
    docker create --name never bb sleep 1000 >/dev/null
    docker rm never
    gone
}

08-rm-loop() {
    local i
    for i in 1 2 3 4; do
        docker run -d bb sleep 1000 >/dev/null
    done
    for i in $(docker ps -aq); do
        docker rm -f "$i"
    done
    absent docker ps -aq
    gone
}

08-rm-failed() {
    # The runtime has made all but the process.
    exits 127 docker run --name fails bb no-such-program
    docker rm fails
    gone
}

08-daemon-reloads() {
    docker run -d --name survivor bb sleep 1000 >/dev/null
    kill -HUP "$(cat /run/docker.pid)"
    soon eval "docker inspect --format '{{.State.Status}}' survivor | grep -x running"
    is "$NAME" docker info --format '{{.DefaultRuntime}}'
    docker rm -f survivor
    gone
}

# Fifty at once, ten times over.
08-fifty-at-once() {
    local round i errors=/tmp/fifty
    for round in 1 2 3 4 5 6 7 8 9 10; do
        : >$errors
        for i in $(seq 50); do
            docker run -d --network none --name "box$i" bb sleep 1000 >/dev/null 2>>$errors &
        done
        wait
        absent cat $errors
        [ "$(docker ps -q | wc -l)" = 50 ] || fail "$(docker ps -q | wc -l) run in round $round"
        for i in $(seq 50); do
            docker rm -f "box$i" >/dev/null 2>>$errors &
        done
        wait
        absent cat $errors
        absent docker ps -aq
        gone
    done
}
