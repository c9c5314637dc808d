# Client and daemon talk; the daemon knows its runtime.

01-rest() {
    says '"ApiVersion"' curl -fsS --unix-socket /run/docker.sock http://docker/version
    says '^Server' docker version
}

01-info-runtime() {
    is "$NAME" docker info --format '{{.DefaultRuntime}}'
    says "Runtimes:.* $NAME" docker info
}

01-runtime-version() {
    local version
    version=$("$RUNTIME" --version | sed -n 's/.* version //p')
    docker version --format '{{range .Server.Components}}{{.Name}} {{.Version}}{{println}}{{end}}' | grep -xF "$NAME $version"
}

01-runtime-commit() {
    says '^commit: ' "$RUNTIME" --version
    says "^$NAME [0-9a-z]" docker version --format '{{range .Server.Components}}{{.Name}} {{.Details.GitCommit}}{{println}}{{end}}'
}

01-runtime-features() {
    says 'org.opencontainers.runtime-spec.features.*ociVersionMin' docker info --format "{{json (index .Runtimes \"$NAME\")}}"
}
