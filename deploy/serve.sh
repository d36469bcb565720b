#!/bin/sh
# What the container runs. A hub id (OWNER/NAME, not a path) is a large model: 4 bits, where there is a GPU.
set -eu
case "$MODEL" in
/* | ./*) ;;
*/*) if [ -e /dev/nvidiactl ]; then set -- --load-in-4bit "$@"; fi ;;
esac
exec sciencetutor serve --model "$MODEL" --host 0.0.0.0 --port 7860 --api-port 5000 --stream-port 5005 "$@"
