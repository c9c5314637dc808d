# Processes stop, and go on where they were.

setup() {
    dockerd_up
    docker run -d --name counts bb sh -c 'i=0; while :; do i=$((i + 1)); echo $i >/tmp/count; sleep 0.05; done' >/dev/null
}

count() {
    docker cp counts:/tmp/count - | tar -xO
}

06-pause() {
    local before
    soon count
    docker pause counts >/dev/null
    is paused docker inspect --format '{{.State.Status}}' counts
    before=$(count)
    sleep 1
    is "$before" count
    refuses 'is paused' docker exec counts true
}

06-unpause() {
    local before after
    before=$(count)
    docker unpause counts >/dev/null
    is running docker inspect --format '{{.State.Status}}' counts
    sleep 1
    after=$(count)
    # From its own memory, not from 1.
    [ "$after" -gt "$before" ] || fail "$after after $before"
    is 'goes on' docker exec counts echo goes on
}

06-stop-paused() {
    docker pause counts >/dev/null
    docker rm -f counts >/dev/null
    absent docker ps -aq --filter name=counts
}
