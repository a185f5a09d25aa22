"""mixpanel (Python) as an app uses it: what stdin says is sent, message by message."""

import json
import sys
from datetime import datetime

from mixpanel import Consumer, Mixpanel

script = json.load(sys.stdin)
host = script["host"]
consumer = Consumer(host + "/track", host + "/engage", host + "/import", groups_url=host + "/groups", retry_limit=8)
# It sends again over TLS alone, and here is none.
consumer._session.mount("http://", consumer._session.get_adapter("https://"))
client = Mixpanel(script["key"], consumer=consumer)
for one in script["messages"]:
    kind, who = one["do"], one.get("user") or one.get("anonymous")
    time = datetime.fromisoformat(one["at"]).timestamp()
    if kind == "track":
        client.track(who, one["event"], {**one["properties"], "time": time})
    elif kind == "identify":
        client.track(who, "$identify", {"$anon_distinct_id": one["anonymous"], "time": time})
        client.people_set(who, one["traits"])
    elif kind == "alias":
        # Its own `alias` sends to Mixpanel, whatever the consumer is.
        client.track(one["old"], "$create_alias", {"alias": one["user"]})
    elif kind == "group":
        client.group_set("company", one["group"], one["traits"])
