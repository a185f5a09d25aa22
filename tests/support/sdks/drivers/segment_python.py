"""segment-analytics-python as an app uses it: what stdin says is sent, message by message."""

import json
import sys
from datetime import datetime

from segment.analytics import Client

script = json.load(sys.stdin)
client = Client(script["key"], host=script["host"], upload_interval=0.05, gzip=True, max_retries=10)
for one in script["messages"]:
    kind, user, anonymous = one["do"], one.get("user"), one.get("anonymous")
    at = datetime.fromisoformat(one["at"]) if "at" in one else None
    if kind == "track":
        client.track(user, one["event"], one["properties"], anonymous_id=anonymous, timestamp=at)
    elif kind == "page":
        client.page(user, name=one["name"], properties=one["properties"], anonymous_id=anonymous, timestamp=at)
    elif kind == "identify":
        client.identify(user, one["traits"], anonymous_id=anonymous, timestamp=at)
    elif kind == "alias":
        client.alias(one["old"], user)
    elif kind == "group":
        client.group(user, one["group"], one["traits"], timestamp=at)
    client.flush()
client.shutdown()
