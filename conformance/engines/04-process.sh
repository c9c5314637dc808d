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
