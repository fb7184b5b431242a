"""Asks a running stream for a prompt and waits until it is seen.

    pip install "pp1-orchestrator[client]"
    python client.py "a blue star on a white background" http://localhost:7860

TOKEN=… in the environment is sent along where the server has a token.
"""

import os
import sys

import httpx
import msgspec

from pp1_orchestrator.client import Client, Transition
from pp1_orchestrator.client.api_events import Failed, Superseded, Visible
from pp1_orchestrator.errors import RequestError

PROMPT, URL = (*sys.argv[1:], "http://localhost:7860")[:2]

try:
    with Client(URL, token=os.environ.get("TOKEN")) as client, client.events() as events:
        update = client.update_prompt(PROMPT, transition=Transition(steps=2)).id
        for event in events:
            if getattr(event, "update", None) == update:
                print(msgspec.json.encode(event).decode())
                if isinstance(event, Visible | Superseded | Failed):
                    sys.exit(not isinstance(event, Visible))
except RequestError as refused:
    sys.exit(f"{refused.status}: {refused}")
except httpx.TransportError as error:
    sys.exit(f"{URL}: {error}")
sys.exit("the stream of events ended")
