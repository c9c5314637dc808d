# Into a running container, and what it does seen from outside.

setup() {
    dockerd_up
    docker run -d --name box --env K=value bb sh -c 'trap : USR1; while :; do sleep 0.1; done' >/dev/null
}

05-exec() {
    is 'in the box' docker exec box echo in the box
    is 'value' docker exec box sh -c 'echo $K'
    is '1' docker exec box sh -c 'cat /proc/1/status | grep -c "^Name:.sh"'
}

05-exec-status() {
    exits 5 docker exec box sh -c 'exit 5'
    exits 127 docker exec box no-such-program
    exits 126 docker exec box /etc/passwd
}

05-exec-options() {
    is '1000 /tmp more' docker exec -u user -w /tmp -e M=more box sh -c 'echo $(id -u) $(pwd) $M'
    is 'one two' bash -c 'echo one two | docker exec -i box cat'
}

05-exec-privileged() {
    local plain all
    plain=$(docker exec box grep CapEff /proc/self/status)
    all=$(docker exec --privileged box grep CapEff /proc/self/status)
    [ "$plain" != "$all" ] || fail "both have $all"
}

05-exec-detach() {
    docker exec -d box sh -c 'sleep 0.3; echo later >/tmp/later'
    soon docker exec box grep later /tmp/later
}

05-exec-it() {
    terminal docker exec -i -t box sh
    shows '^/ #'
    keys 'tty; stty size' Enter
    shows '^/dev/pts/0'
    shows '^24 80'
    tmux resize-window -t check -x 90 -y 20
    soon bash -c 'tmux send-keys -t check "stty size" Enter; tmux capture-pane -p -t check | grep "^20 90"'
    keys 'sleep 1000' Enter
    sleep 1
    keys C-c
    keys Enter 'echo still here' Enter
    shows '^still here'
    keys 'exit 3' Enter
    shows 'Pane is dead \(status 3'
}

05-top() {
    says 'sleep 0.1|sh -c trap' docker top box
    says '^ *[0-9]+ +sh' docker top box -o pid,comm
}

05-stats() {
    says 'box' docker stats --no-stream
    says '"pids_stats"' curl -fsS --unix-socket /run/docker.sock 'http://docker/containers/box/stats?stream=false&one-shot=true'
}

05-stats-values() {
    controller memory
    controller pids
    says '^[1-9][0-9.]*[kKM]i?B / .* [1-9]' docker stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' box
}

05-cp() {
    echo from outside >/tmp/file
    docker cp /tmp/file box:/tmp/copied
    is 'from outside' docker exec box cat /tmp/copied
    docker exec box sh -c 'echo from inside >/tmp/back'
    docker cp box:/tmp/back /tmp/back
    is 'from inside' cat /tmp/back
}

05-events() {
    local since
    since=$(date +%s)
    docker run --rm --name event bb true
    says 'container start .*name=event' docker events --since "$since" --until "$(($(date +%s) + 1))"
    says 'container die .*exitCode=0.*name=event' docker events --since "$since" --until "$(($(date +%s) + 1))"
}

05-health() {
    docker run -d --name fit --health-cmd 'test -e /tmp/fit' --health-interval 300ms --health-retries 1 bb \
        sh -c 'touch /tmp/fit; sleep 1000' >/dev/null
    soon eval "docker inspect --format '{{.State.Health.Status}}' fit | grep -x healthy"
    docker exec fit rm /tmp/fit
    soon eval "docker inspect --format '{{.State.Health.Status}}' fit | grep -x unhealthy"
}

05-exec-refused-program() {
    refused_programs
    local name program
    docker run -d --name programs -v /tmp/programs:/programs bb sleep 1000 >/dev/null
    docker run -d --name programs-peer --runtime peer -v /tmp/programs:/programs bb sleep 1000 >/dev/null
    for program in text foreign; do
        exits 255 docker exec programs /programs/$program
        says "exec /programs/$program: exec format error" echo "$output"
    done
    exits 255 docker exec programs /programs/lost
    says 'exec /programs/lost: no such file or directory' echo "$output"
    for program in text foreign lost; do
        is "$(docker exec programs-peer /programs/$program 2>&1)" bash -c "! docker exec programs /programs/$program 2>&1"
        is "$(docker exec -t programs-peer /programs/$program 2>&1)" bash -c "! docker exec -t programs /programs/$program 2>&1"
    done
    docker rm -f programs programs-peer >/dev/null
}

05-exec-pids-limit() {
    controller pids
    docker run -d --name full --pids-limit 2 bb sh -c 'sleep 1000 & wait' >/dev/null
    soon eval 'docker exec full cat /sys/fs/cgroup/pids.current | grep -x 3'
    is 'in the box' docker exec full echo in the box
    refuses 'fork' docker exec full sh -c 'true & wait'
    docker rm -f full >/dev/null
}

05-exec-resize() {
    # A program without a terminal hears nothing of another one's; Apache would stop.
    docker run -d --name httpd bb sh -c 'trap "echo winch" WINCH; while :; do sleep 0.1; done' >/dev/null
    docker run -d -t --name httpd-t bb sh -c 'trap "echo winch" WINCH; while :; do sleep 0.1; done' >/dev/null
    terminal docker exec -i -t httpd sh
    shows '^/ #'
    tmux resize-window -t check -x 90 -y 20
    soon bash -c 'tmux send-keys -t check "stty size" Enter; tmux capture-pane -p -t check | grep "^20 90"'
    tmux respawn-pane -k -t check docker attach httpd-t
    soon eval 'docker logs httpd-t | grep -x winch.'
    absent docker logs httpd
    docker rm -f httpd httpd-t >/dev/null
}
