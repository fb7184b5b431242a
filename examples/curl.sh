#!/usr/bin/env bash
# Everything that a stream can be asked for, with curl: examples/curl.sh http://localhost:7860
# TOKEN=… is sent along where the server has a token. Stops at the first refusal.
set -euo pipefail
URL=${1:-http://localhost:7860}
curl() { command curl -sS --fail-with-body ${TOKEN:+-H "Authorization: Bearer $TOKEN"} "$@" && echo; }
JSON='content-type: application/json'

# The stream
curl "$URL/healthz"
curl "$URL/readyz"
curl "$URL/api/state"
curl "$URL/api/openapi.json"
curl "$URL/metrics"

# A prompt, a blend, a transition, a cut
curl "$URL/api/prompt" -H "$JSON" -d '{"prompt": "a red circle moving left on a blue background"}'
curl "$URL/api/prompt" -H "$JSON" -d '{"blend": "slerp",
  "prompts": [{"text": "a red circle on a black background", "weight": 1},
              {"text": "a blue circle on a black background", "weight": 3}]}'
curl "$URL/api/prompt" -H "$JSON" \
  -d '{"prompt": "a green square on a purple background", "transition": {"steps": 6, "method": "linear"}}'
curl "$URL/api/prompt" -H "$JSON" -d '{"prompt": "a yellow star on a black background", "cut": "hard"}'

# Commands
curl "$URL/api/control" -H "$JSON" -d '{"action": "pause"}'
curl "$URL/api/control" -H "$JSON" -d '{"action": "resume"}'
curl "$URL/api/control" -H "$JSON" -d '{"action": "hard_cut"}'
curl "$URL/api/control" -H "$JSON" -d '{"action": "seed", "value": 7}'

# The timeline
curl -X PUT "$URL/api/timeline" -H "$JSON" -d '{"entries": [
  {"chunk": 0, "prompt": "a green star on a black background"},
  {"chunk": 8, "cut": "hard", "seed": 11}]}'
curl "$URL/api/timeline"
curl -X DELETE "$URL/api/timeline"

# The recording
curl "$URL/api/recording"

# Control: taken, asked for, handed over, given back
KEY=$(curl "$URL/api/lease" -H "$JSON" -d '{"action": "take", "name": "Ann"}' | sed 's/.*"key":"\([^"]*\)".*/\1/')
curl "$URL/api/lease"
curl "$URL/api/prompt" -H "$JSON" -H "PP1-Lease: $KEY" -d '{"prompt": "a white star on a red background"}'
curl "$URL/api/lease" -H "$JSON" -H "PP1-Lease: $KEY" -d '{"action": "renew"}'
OTHER=$(curl "$URL/api/lease" -H "$JSON" -d '{"action": "request"}' | sed 's/.*"key":"\([^"]*\)".*/\1/')
curl "$URL/api/lease/handover" -H "$JSON" -H "PP1-Lease: $KEY" -d '{}'
curl -X DELETE "$URL/api/lease" -H "PP1-Lease: $OTHER"

# A clip of what is seen
curl "$URL/api/clips" -H "$JSON" -d '{"action": "start"}'
sleep 2
CLIP=$(curl "$URL/api/clips" -H "$JSON" -d '{"action": "stop"}' | sed 's/.*"id":"\([^"]*\)".*/\1/')
curl "$URL/api/clips"
curl -o /dev/null "$URL/api/clips/$CLIP"

# Events, here for three seconds: they have no end
curl --no-buffer --max-time 3 "$URL/api/events" || [ $? = 28 ]

# Watching: an offer in, an answer and the address to end it at out
ANSWER=$(curl -i "$URL/whep" -H 'content-type: application/sdp' --data-binary @"$(dirname "$0")/offer.sdp")
VIEWER=$(sed -n 's/^location: \([^[:cntrl:]]*\).*/\1/ip' <<< "$ANSWER")
curl -X DELETE "$URL$VIEWER"
