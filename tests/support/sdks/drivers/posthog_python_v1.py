"""posthog (Python) with its protocol "capture v1", as an app uses it: what stdin says is sent, message by message."""

import json
import sys
from datetime import datetime

from posthog import Posthog

script = json.load(sys.stdin)
client = Posthog(script["key"], host=script["host"], flush_interval=0.05, gzip=True, max_retries=10, capture_mode="v1")
for one in script["messages"]:
    kind, who = one["do"], one.get("user") or one.get("anonymous")
    at = datetime.fromisoformat(one["at"]) if "at" in one else None
    if kind == "track":
        client.capture(one["event"], distinct_id=who, properties=one["properties"], timestamp=at)
    elif kind == "identify":
        properties = {"$anon_distinct_id": one["anonymous"], "$set": one["traits"]}
        client.capture("$identify", distinct_id=who, properties=properties, timestamp=at)
    elif kind == "alias":
        client.alias(one["old"], one["user"])
    elif kind == "group":
        client.group_identify("company", one["group"], one["traits"], timestamp=at)
    client.flush()
client.shutdown()
