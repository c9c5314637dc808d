# A layer for each instruction; RUN goes through the runtime.
LIMIT=120

context() {
    rm -rf /tmp/context
    mkdir /tmp/context
    cd /tmp/context
    echo copied >file
}

dockerfile() {
    context
    cat >Dockerfile <<'END'
FROM bb
ENV COLOUR=rust
WORKDIR /work
COPY file .
RUN cat file >both && echo "$COLOUR" >>both && mkdir /owned && chown user /owned
USER user
RUN id -u >/owned/uid
CMD ["cat", "both", "/owned/uid"]
END
}

built() {
    is $'copied\nrust\n1000' docker run --rm "$1"
    is 'user /work' docker image inspect --format '{{.Config.User}} {{.Config.WorkingDir}}' "$1"
}

10-build() {
    dockerfile
    docker build -q -t built . >/dev/null
    built built
}

10-build-classic() {
    dockerfile
    DOCKER_BUILDKIT=0 docker build -q -t classic . >/dev/null
    built classic
}

10-build-scratch() {
    context
    cp "$(command -v busybox)" .
    cat >Dockerfile <<'END'
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "ln", "-s", "busybox", "/bin/sh"]
RUN echo from nothing >/file
END
    docker build -q -t nothing . >/dev/null
    is 'from nothing' docker run --rm nothing /bin/sh -c 'read line </file; echo $line'
}

10-build-mounts() {
    context
    cat >Dockerfile <<'END'
FROM bb
RUN --mount=type=tmpfs,target=/t touch /t/file && grep ' /t tmpfs' /proc/mounts
RUN --mount=type=cache,target=/c echo kept >/c/file
RUN --mount=type=cache,target=/c cat /c/file >/kept
RUN --mount=type=secret,id=key cp /run/secrets/key /shown
RUN --network=none [ "$(ls /sys/class/net)" = lo ]
END
    echo hidden >/tmp/key
    docker build -q --secret id=key,src=/tmp/key -t mounts . >/dev/null
    is $'kept\nhidden' docker run --rm mounts cat /kept /shown
}

10-build-fails() {
    context
    printf 'FROM bb\nRUN exit 42\n' >Dockerfile
    refuses 'exit code: 42' docker build .
}

10-history() {
    docker image inspect built >/dev/null 2>&1 || 10-build
    says 'RUN .*cat file' docker history --no-trunc built
    says '^5$' docker image inspect --format '{{len .RootFS.Layers}}' built
}

10-commit() {
    docker run --name changes bb sh -c 'echo committed >/file'
    docker commit -c 'CMD ["cat", "/file"]' changes committed >/dev/null
    is committed docker run --rm committed
    is 2 docker image inspect --format '{{len .RootFS.Layers}}' committed
}

clean() {
    docker_clean
    docker builder prune -af >/dev/null
}
