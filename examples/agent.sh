#!/bin/sh
# An agent in shell, with the `nats` CLI and jq. A runner sets the environment;
# by hand:
#
#   SMITH_AGENT=shell-1 SMITH_TYPE=echo ./agent.sh
#
# It works on one task at a time by sending its payload back. What each message
# means is in docs/protocol.md.
set -eu

: "${SMITH_AGENT:?set it to the agent's name}"
SMITH_INCARNATION=${SMITH_INCARNATION:-0}
SMITH_HEARTBEAT_INTERVAL=${SMITH_HEARTBEAT_INTERVAL:-5s}
export SMITH_AGENT SMITH_INCARNATION SMITH_HEARTBEAT_INTERVAL
export NATS_URL="${SMITH_NATS_URL:-nats://127.0.0.1:4222}"
[ -z "${SMITH_NATS_CREDS-}" ] || export NATS_CREDS="$SMITH_NATS_CREDS"
[ -z "${SMITH_NATS_CA-}" ] || export NATS_CA="$SMITH_NATS_CA"
NATS_CLI=${NATS_CLI:-nats}
export NATS_CLI

# seconds DURATION: a Go duration such as 1m30s or 250ms as a number.
seconds() {
    awk -v d="$1" 'BEGIN {
        while (match(d, /^[0-9.]+(ms|us|ns|h|m|s)/)) {
            t = substr(d, 1, RLENGTH); d = substr(d, RLENGTH + 1); u = t; sub(/^[0-9.]+/, "", u)
            n += (t + 0) * (u == "h" ? 3600 : u == "m" ? 60 : u == "s" ? 1 : u == "ms" ? 1e-3 : 1e-6)
        }
        print n + 0 }'
}

# beat STATUS SEQ: one heartbeat; one that cannot be sent is not sent later.
beat() {
    jq -nc --arg status "$1" --argjson seq "$2" --arg type "${SMITH_TYPE-}" \
        '{incarnation: (env.SMITH_INCARNATION | tonumber), seq: $seq, status: $status, capacity: 1,
          interval: env.SMITH_HEARTBEAT_INTERVAL} + (if $type == "" then {} else {type: $type} end)' |
        timeout 2 "$NATS_CLI" pub -q --no-templates --force-stdin "smith.heartbeat.$SMITH_AGENT" >/dev/null 2>&1 || true
}

# accept: decides on the request in $NATS_REQUEST_BODY, and prints the answer.
accept() {
    id=$(printf '%s' "$NATS_REQUEST_BODY" | jq -r '"\(.task).\(.attempt)"')
    if [ "$(printf '%s' "$NATS_REQUEST_BODY" | jq .incarnation)" != "$SMITH_INCARNATION" ]; then
        echo '{"accepted":false,"reason":"stale_incarnation"}'
    elif [ -e "$STATE/seen.$id" ]; then
        echo '{"accepted":true}' # the same attempt again: it is not run twice
    elif mkdir "$STATE/busy" 2>/dev/null; then
        : >"$STATE/seen.$id"; : >"$STATE/report.$id"
        "$0" perform </dev/null >/dev/null 2>&1 &
        echo '{"accepted":true}'
    else
        echo '{"accepted":false,"reason":"full"}'
    fi
}

# perform: works on the task, then reports until the log acknowledges it.
perform() {
    # The work: here, the payload is the result.
    result=$(printf '%s' "$NATS_REQUEST_BODY" | jq -c .payload)

    # The id is derived from what is reported: sent twice, it is stored once.
    id=$(printf '%s' "$NATS_REQUEST_BODY" | jq -r '"\(.task) \(.attempt) \(env.SMITH_AGENT) \(env.SMITH_INCARNATION)"' |
        sha1sum | sed 's/^\(.\{8\}\)\(.\{4\}\).\(.\{3\}\).\(.\{3\}\)\(.\{12\}\).*/\1-\2-5\3-8\4-\5/')
    type=$(printf '%s' "$NATS_REQUEST_BODY" | jq -r .type)
    event=$(printf '%s' "$NATS_REQUEST_BODY" | jq -c --arg id "$id" --argjson result "$result" --arg time "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
        '{specversion: "1.0", id: $id, source: "agent/\(env.SMITH_AGENT)", type: "smith.task.completed", subject: .type, time: $time,
          datacontenttype: "application/json", correlationid: .task,
          data: {task, type, attempt, agent: env.SMITH_AGENT, incarnation: (env.SMITH_INCARNATION | tonumber), result: $result}}
         + (if .causationid then {causationid} else {} end)')
    rmdir "$STATE/busy"
    until printf '%s' "$event" | "$NATS_CLI" pub -q -J --no-templates --force-stdin -H "Nats-Msg-Id:$id" \
        -H 'Content-Type:application/cloudevents+json' "smith.event.task.completed.$type"; do
        sleep 1
    done
    rm -f "$STATE/report.$(printf '%s' "$NATS_REQUEST_BODY" | jq -r '"\(.task).\(.attempt)"')"
}

case ${1-} in
accept | perform) "$1"; exit ;;
esac

STATE=$(mktemp -d)
export STATE
answer() { # answer SUBJECT COMMAND: answers requests in the background
    "$NATS_CLI" reply "smith.agent.$SMITH_AGENT.$1" --command "$2" >/dev/null 2>&1 &
    helpers="${helpers-} $!"
}
answer task "$0 accept"
answer ping "echo '{\"incarnation\":$SMITH_INCARNATION,\"status\":\"running\",\"in_flight\":0}'"

stopping=
trap 'stopping=1' TERM INT
pause=$(seconds "$SMITH_HEARTBEAT_INTERVAL")
seq=0
while [ -z "$stopping" ]; do
    seq=$((seq + 1))
    beat running "$seq"
    sleep "$pause" &
    wait $! || true # a signal ends the wait at once
done
beat stopping $((seq + 1))
tries=0
while ls "$STATE" | grep -q '^report' && [ "$tries" -lt 40 ]; do # at most 4 s
    tries=$((tries + 1))
    sleep 0.1
done
# shellcheck disable=SC2086
kill $helpers 2>/dev/null || true
rm -rf "$STATE"
beat stopped $((seq + 2))
