# Builds without a daemon.
LIMIT=120

setup() {
    dockerd_down
    engines_config
    podman image exists bb || podman import -q -c 'CMD ["sh"]' "$(image_archive)" bb >/dev/null
}

20-bud() {
    mkdir -p /tmp/bud
    cd /tmp/bud
    echo copied >file
    printf 'FROM bb\nENV K=value\nWORKDIR /work\nCOPY file .\nRUN echo "$K" >>file\nUSER user\nRUN id -u >/tmp/uid\n' >Containerfile
    buildah bud -q --runtime "$RUNTIME" -t built . >/dev/null
    is $'copied\nvalue\n1000' podman run --rm built cat file /tmp/uid
}

20-bud-fails() {
    cd /tmp/bud
    printf 'FROM bb\nRUN exit 42\n' >Fails
    refuses 'exit status 42' buildah bud --runtime "$RUNTIME" -f Fails .
}

20-run() {
    local container
    container=$(buildah from bb)
    is hi buildah run --runtime "$RUNTIME" "$container" echo hi
    buildah run --runtime "$RUNTIME" "$container" sh -c 'echo kept >/file'
    is kept buildah run --runtime "$RUNTIME" "$container" cat /file
    exits 7 buildah run --runtime "$RUNTIME" "$container" sh -c 'exit 7'
    buildah rm "$container" >/dev/null
}

20-run-terminal() {
    local container
    container=$(buildah from bb)
    terminal buildah run -t --runtime "$RUNTIME" "$container" sh
    shows '#'
    keys 'tty; stty size' Enter
    shows '^/dev/pts/0'
    shows '^24 80'
    keys exit Enter
    shows 'Pane is dead'
    buildah rm "$container" >/dev/null
}

20-from-scratch() {
    local container
    container=$(buildah from scratch)
    buildah add "$container" /tmp/image.tar / >/dev/null
    is 'from nothing' buildah run --runtime "$RUNTIME" "$container" echo from nothing
    buildah rm "$container" >/dev/null
}

clean() {
    buildah rm -a
    podman rm -fa -t 0
} >/dev/null 2>&1
