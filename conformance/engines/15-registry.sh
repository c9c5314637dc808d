# To a private registry and back.
REGISTRY=127.0.0.1:5000

setup() {
    dockerd_up
    pgrep -x docker-registry >/dev/null && return
    htpasswd -Bbn tester secret >/tmp/htpasswd
    cat >/tmp/registry.yml <<'END'
version: 0.1
storage:
  filesystem:
    rootdirectory: /tmp/registry
  delete:
    enabled: true
http:
  addr: 127.0.0.1:5000
auth:
  htpasswd:
    realm: here
    path: /tmp/htpasswd
END
    setsid docker-registry serve /tmp/registry.yml >/tmp/registry.log 2>&1 &
    soon eval "curl -sS -o /dev/null http://$REGISTRY/v2/"
}

15-login-refused() {
    refuses 'unauthorized|401' docker login -u tester -p wrong $REGISTRY
    docker tag bb $REGISTRY/bb:1
    refuses 'no basic auth|unauthorized' docker push $REGISTRY/bb:1
}

15-login() {
    says 'Login Succeeded' bash -c "echo secret | docker login -u tester --password-stdin $REGISTRY"
}

15-push() {
    printf 'FROM bb\nRUN echo pushed >/file\nCMD ["cat", "/file"]\n' | docker build -q -t $REGISTRY/pushed:1 - >/dev/null
    docker push $REGISTRY/pushed:1
    says '"pushed"' curl -fsS -u tester:secret http://$REGISTRY/v2/_catalog
}

15-pull-and-run() {
    docker rmi $REGISTRY/pushed:1
    docker builder prune -af >/dev/null
    docker pull $REGISTRY/pushed:1
    is pushed docker run --rm $REGISTRY/pushed:1
    docker rmi $REGISTRY/pushed:1
    # What is not here is pulled by run.
    is pushed docker run --rm -q $REGISTRY/pushed:1
}

15-logout() {
    docker rmi $REGISTRY/pushed:1
    docker logout $REGISTRY
    refuses 'no basic auth|unauthorized' docker pull $REGISTRY/pushed:1
}

clean() {
    docker_clean
    pkill -x docker-registry
}
