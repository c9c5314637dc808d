# Two services that talk.
LIMIT=120

setup() {
    dockerd_up
    mkdir -p /tmp/project
    cat >/tmp/project/compose.yaml <<'END'
services:
  web:
    image: bb
    pull_policy: never
    command: sh -c 'mkdir /www; echo page >/www/index.html; exec httpd -f -p 80 -h /www'
    healthcheck:
      test: wget -qO- http://127.0.0.1/
      interval: 300ms
      start_period: 60s
  client:
    image: bb
    pull_policy: never
    command: sh -c 'wget -qO- http://web/; exec sleep 1000'
    depends_on:
      web:
        condition: service_healthy
    volumes:
      - data:/data
volumes:
  data:
END
}

compose() {
    docker compose --ansi never -f /tmp/project/compose.yaml "$@"
}

16-up() {
    compose up -d
    says 'project-web-1 .* (Up|running)' compose ps
    says 'project-client-1 .* (Up|running)' compose ps
}

16-talk() {
    soon eval 'compose logs client | grep page'
    is page compose exec -T client wget -qO- http://web/
}

16-scale() {
    compose up -d --no-recreate --scale web=3
    [ "$(compose ps -q web | wc -l)" = 3 ] || fail "$(compose ps)"
}

16-restart() {
    compose restart -t 0 web
    soon eval 'compose exec -T client wget -qO- http://web/ | grep page'
}

16-run() {
    is once eval 'compose run --rm -T client echo once 2>/dev/null'
}

16-down() {
    compose down -v -t 0
    absent docker ps -aq
    absent docker volume ls -q
    absent docker network ls -q --filter name=project
}
