#!/bin/sh
# What the container runs. A hub id (OWNER/NAME, not a path) is a large model: 4 bits, where there is a GPU.
# Without AUTH the page is for strangers and keeps nothing. With -e AUTH=1 visitors log in, and what the tutor remembers of them is in
# /data, where a volume belongs: -v tutor:/data. STORE names another folder, or a PostgreSQL database.
# It answers to addresses in numbers and to localhost; other names come in ALLOWED_HOSTS: -e ALLOWED_HOSTS="tutor.school.example"
set -eu
if [ "${AUTH:-0}" = 1 ]; then set -- --auth --store "${STORE:-/data}" "$@"; fi
case "$MODEL" in
/* | ./*) ;;
*/*) if [ -e /dev/nvidiactl ]; then set -- --load-in-4bit "$@"; fi ;;
esac
set -f  # a star is a name here
# On a Vertex AI endpoint all that comes has come through Google, which has asked who it is; the paths are in AIP_PREDICT_ROUTE and AIP_HEALTH_ROUTE.
if [ -n "${AIP_HTTP_PORT:-}" ]; then
  exec sciencetutor serve --allowed-hosts * --model "$MODEL" --host 0.0.0.0 --one-port --port "$AIP_HTTP_PORT" --rate 0 "$@"
fi
exec sciencetutor serve --allowed-hosts ${ALLOWED_HOSTS:-localhost} --model "$MODEL" --host 0.0.0.0 --port 7860 --api-port 5000 --stream-port 5005 "$@"
