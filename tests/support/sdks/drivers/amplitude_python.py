"""amplitude-analytics as an app uses it: what stdin says is sent, message by message."""

import json
import sys
import threading
from datetime import datetime

from amplitude import Amplitude, BaseEvent, Config, EventOptions, Identify

script = json.load(sys.stdin)
done = threading.Semaphore(0)


def callback(event: BaseEvent, code: int, message: str | None = None) -> None:
    if code != 200:
        print(code, message, event)
    done.release()


config = Config(server_url=script["host"] + "/2/httpapi", flush_interval_millis=50, callback=callback)
client = Amplitude(script["key"], config)
for one in script["messages"]:
    kind = one["do"]
    time = round(datetime.fromisoformat(one["at"]).timestamp() * 1000)
    if kind == "track":
        client.track(
            BaseEvent(
                one["event"],
                user_id=one.get("user"),
                device_id=one.get("anonymous"),
                time=time,
                event_properties=one["properties"],
            )
        )
    elif kind == "identify":
        traits = Identify()
        for name, value in one["traits"].items():
            traits.set(name, value)
        client.identify(traits, EventOptions(user_id=one["user"], device_id=one["anonymous"], time=time))
    elif kind == "group":
        traits = Identify()
        for name, value in one["traits"].items():
            traits.set(name, value)
        client.group_identify("company", one["group"], traits, EventOptions(user_id=one["user"], time=time))
    client.flush()
    done.acquire(timeout=20)
client.shutdown()
