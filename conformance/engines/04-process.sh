# Environment and command are the container's; the image stays as it was.

04-env() {
    is 'value image' docker run --rm --env K=value bb sh -c 'echo $K $FROM'
    is 'mine' docker run --rm --env FROM=mine bb sh -c 'echo $FROM'
    says '^HOME=/root$' docker run --rm bb env
}

04-command() {
    is sh docker image inspect --format '{{join .Config.Cmd " "}}' bb
    is 'other command' docker run --rm bb echo other command
    is 'entry point' docker run --rm --entrypoint echo bb entry point
}

04-workdir() {
    is /some/where docker run --rm -w /some/where bb pwd
}

04-hostname() {
    is box docker run --rm -h box bb hostname
}

04-inspect() {
    docker create --name looked-at --env K=value bb sleep 7 >/dev/null
    is 'created [sleep 7]' docker inspect --format '{{.State.Status}} {{.Config.Cmd}}' looked-at
    says 'K=value' docker inspect --format '{{.Config.Env}}' looked-at
    is "$NAME" docker inspect --format '{{.HostConfig.Runtime}}' looked-at
}

04-image-unchanged() {
    local before
    before=$(docker image inspect bb)
    docker run --rm --env K=value bb sh -c 'rm /bin/vi; echo new >/new'
    is "$before" docker image inspect bb
    is '[FROM=image]' docker image inspect --format '{{.Config.Env}}' bb
    docker run --rm bb ls /bin/vi
}

04-refused-program() {
    # It has been started by then: what is wrong is in its log, and Docker takes the status for the program's.
    refused_programs
    local program reason
    for program in 'text exec format error' 'foreign exec format error' 'lost no such file or directory'; do
        reason=${program#* } program=${program%% *}
        exits 255 docker run --name $program -v /tmp/programs:/programs bb /programs/$program
        is "exec /programs/$program: $reason" docker logs $program
        is 'exited 255 ' docker inspect --format '{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}' $program
        exits 255 docker start -a $program
        docker rm $program >/dev/null
        alike docker run --rm --runtime @name -v /tmp/programs:/programs bb /programs/$program
        alike docker run --rm --runtime @name -t -v /tmp/programs:/programs bb /programs/$program
    done
    # What can be seen before is told by Docker itself.
    exits 127 docker run --rm bb /no/such/program
    exits 126 docker run --rm bb /etc/passwd
}
