"""Asks a running stream for a prompt and waits until it is seen.

    python client.py "a blue star on a white background" http://localhost:7860

TOKEN=… in the environment is sent along where the server has a token.
"""

import json
import os
import sys
import urllib.request

PROMPT, URL = (*sys.argv[1:], "http://localhost:7860")[:2]
HEADERS = {"Content-Type": "application/json"}
if "TOKEN" in os.environ:
    HEADERS["Authorization"] = f"Bearer {os.environ['TOKEN']}"

events = urllib.request.urlopen(urllib.request.Request(f"{URL}/api/events", headers=HEADERS), timeout=30)
events.readline()  # the stream has begun: nothing that happens from here on is missed
body = json.dumps({"prompt": PROMPT, "transition": {"steps": 2}}).encode()
with urllib.request.urlopen(urllib.request.Request(f"{URL}/api/prompt", body, HEADERS), timeout=30) as answer:
    update = json.load(answer)["id"]
for line in events:
    event = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data: ") else {}
    if event.get("update") == update:
        print(event)
        if event["event"] in ("visible", "superseded", "failed"):
            sys.exit(event["event"] != "visible")
sys.exit("the stream of events ended")
