# Output, statuses, and a terminal that can be worked in.

02-echo() {
    is hi docker run --rm bb echo hi
}

02-status() {
    exits 7 docker run --rm bb sh -c 'exit 7'
    exits 139 docker run --rm bb sh -c 'sh -c "kill -SEGV \$\$"; exit $?'
}

02-not-found() {
    exits 127 docker run --rm bb no-such-program
    grep -q 'executable file not found' <<<"$output" || fail "$output"
    exits 127 docker run --rm bb /no/such/program
    grep -qi 'no such file or directory' <<<"$output" || fail "$output"
}

02-not-executable() {
    exits 126 docker run --rm bb /etc/passwd
    grep -qi 'permission denied' <<<"$output" || fail "$output"
    exits 126 docker run --rm bb /etc
}

02-stdin() {
    is 'one two' bash -c 'echo one two | docker run --rm -i bb cat'
}

02-stderr() {
    is 'out' bash -c 'docker run --rm bb sh -c "echo out; echo err >&2" 2>/dev/null'
    is 'err' bash -c 'docker run --rm bb sh -c "echo out; echo err >&2" 2>&1 >/dev/null'
}

in_terminal() {
    terminal docker run --rm -i -t "$@" bb sh
    shows '^/ #'
}

02-terminal() {
    in_terminal
    keys 'tty; stty size' Enter
    shows '^/dev/pts/0'
    shows '^24 80'
    keys 'echo $TERM; ls -l /dev/console | cut -c 1' Enter
    shows '^xterm'
    shows '^c'
}

02-terminal-resize() {
    in_terminal
    tmux resize-window -t check -x 100 -y 30
    soon bash -c 'tmux send-keys -t check "stty size" Enter; tmux capture-pane -p -t check | grep "^30 100"'
}

02-terminal-interrupt() {
    in_terminal
    keys 'sleep 1000; echo ended with $?' Enter
    sleep 1
    keys C-c
    keys Enter 'echo still here' Enter
    shows '^still here'
    absent docker ps -q --filter status=exited
}

02-terminal-jobs() {
    in_terminal
    keys 'sleep 1000' Enter
    sleep 1
    keys C-z
    shows '\[1\]\+.*Stopped'
    keys 'bg; jobs' Enter
    shows '\[1\]\+? *Running'
    keys 'kill %1; wait; echo all done' Enter
    shows '^all done'
}

02-terminal-vi() {
    in_terminal
    edits_in_vi
}

02-terminal-top() {
    in_terminal
    keys top Enter
    shows '^ *PID +PPID USER'
    keys q
    shows '^/ #'
}

02-terminal-detach() {
    in_terminal --name apart
    keys 'echo before' Enter
    shows '^before'
    keys C-p C-q
    shows 'Pane is dead'
    is true docker inspect --format '{{.State.Running}}' apart
    tmux respawn-pane -t check docker attach apart
    keys Enter 'echo behind' Enter
    shows '^behind'
    docker rm -f apart
}

02-exit-keeps() {
    terminal docker run -i -t --name kept bb sh
    shows '^/ #'
    keys 'echo mine >/tmp/file; exit 3' Enter
    shows 'Pane is dead'
    is 'exited 3' docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' kept
    docker start kept >/dev/null
    soon docker exec kept grep mine /tmp/file
    docker rm -f kept
}
