# In the background; its output is kept and streamed.

03-detach() {
    local id
    id=$(docker run -d --name web bb sh -c 'echo up; echo bad >&2; exec sleep 1000')
    is "$id" docker ps -q --no-trunc --filter name=web
    says 'Up .* web$' docker ps
}

03-logs() {
    soon eval 'docker logs web 2>/dev/null | grep -x up'
    is bad bash -c 'docker logs web 2>&1 >/dev/null'
}

03-logs-follow() {
    docker run -d --name talker bb sh -c 'for i in 1 2 3; do echo line $i; sleep 0.3; done' >/dev/null
    is $'line 1\nline 2\nline 3' docker logs -f talker
}

03-attach() {
    docker run -d -i --name waits bb sh -c 'read line; echo got $line; exit 4' >/dev/null
    exits 4 bash -c 'echo word | docker attach waits'
    soon eval 'docker logs waits | grep -x "got word"'
}
