#!/bin/sh
# simplehttp.sh start|stop|status. start stays in the foreground, so that solovip hears at once
# when the service ends. status has the LSB's exits, 0 for running and 3 for stopped: what
# solovip does not understand it takes for running.
dir=/srv/simplehttp
pidfile=/run/simplehttp.pid

# The process of that number may be another one's by now.
running() {
    [ -s "$pidfile" ] && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$pidfile")/cmdline" | grep -q http.server
}

case "$1" in
start)
    echo $$ >"$pidfile" || exit 1
    exec python3 -m http.server 80 --directory "$dir"
    ;;
stop)
    running || exit 0
    kill "$(cat "$pidfile")" || exit 1
    # Stopped is what is gone, not what has been told to go. solovip's stop_timeout ends this.
    while running; do sleep 0.05; done
    rm -f "$pidfile"
    ;;
status)
    running || exit 3
    ;;
*)
    echo "usage: $0 start|stop|status" >&2
    exit 2
    ;;
esac
