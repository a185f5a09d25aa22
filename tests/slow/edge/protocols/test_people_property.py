"""Any mixture of families, in any order, makes the same people: those of the oracle, which hears what was meant."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.contract.links import Link, counting
from services.contract.log.envelope import IdentityLine
from services.edge.protocols.families import FAMILIES
from services.edge.protocols.family import Incoming, Options
from services.edge.protocols.taken import Taken
from tests.support.oracle_links import Said, counting_links, people

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
DEVICES, USERS = ["phone", "laptop", "kiosk"], ["ada", "bob", "cleo"]
# What makes one person of many when it is believed.
PLACEHOLDERS = ["null", "undefined", "[object Object]"]


class Meant(NamedTuple):
    """What an app says through the SDK of a family: an identify of a device, an alias, or a track with both ids."""

    family: str
    does: str
    device: str
    user: str
    at: datetime


def segment(said: Meant) -> tuple[str, Any]:
    fields = {"userId": said.user, "timestamp": said.at.isoformat()}
    if said.does == "alias":
        return "/v1/batch", {"batch": [{"type": "alias", **fields, "previousId": said.device}]}
    kind = {"identify": {"type": "identify"}, "track": {"type": "track", "event": "e"}}[said.does]
    return "/v1/batch", {"batch": [{**kind, **fields, "anonymousId": said.device}]}


def posthog(said: Meant) -> tuple[str, Any]:
    fields = {"distinct_id": said.user, "timestamp": said.at.isoformat()}
    if said.does == "alias":
        event = {"event": "$create_alias", **fields, "properties": {"alias": said.device}}
    elif said.does == "identify":
        event = {"event": "$identify", **fields, "properties": {"$anon_distinct_id": said.device}}
    else:
        event = {"event": "e", **fields, "properties": {"$device_id": said.device}}
    return "/batch", {"batch": [event]}


def amplitude(said: Meant) -> tuple[str, Any]:
    """It has no alias."""
    kind = {"identify": "$identify", "track": "e"}[said.does]
    ms = round(said.at.timestamp() * 1000)
    return "/2/httpapi", {"events": [{"event_type": kind, "user_id": said.user, "device_id": said.device, "time": ms}]}


def mixpanel(said: Meant) -> tuple[str, Any]:
    time = said.at.timestamp()
    if said.does == "alias":
        return "/track", {"event": "$create_alias", "properties": {"distinct_id": said.device, "alias": said.user}}
    ids = {"distinct_id": said.user, "time": time}
    if said.does == "identify":
        return "/track", {"event": "$identify", "properties": {**ids, "$anon_distinct_id": said.device}}
    return "/track", {"event": "e", "properties": {**ids, "$device_id": said.device}}


SAY = {"segment": segment, "posthog": posthog, "amplitude": amplitude, "mixpanel": mixpanel}


def heard(said: Meant, received: datetime) -> list[IdentityLine]:
    path, body = SAY[said.family](said)
    family = FAMILIES[said.family](Options())
    incoming = Incoming(path, {}, {}, data=msgspec.json.encode(body))
    parsed = family.parse(incoming)
    taken = Taken("shop", received, parsed.text)
    family.take(incoming, parsed, taken)
    return taken.identity


def meant(said: Meant, received: datetime) -> list[Said]:
    """In the oracle's words. A placeholder is nobody."""
    if said.does == "track" or said.device in PLACEHOLDERS or said.user in PLACEHOLDERS:
        return []
    event_id = f"{round(received.timestamp() * 1e6):032x}"
    kind, time = ("alias", received) if said.does == "alias" else ("link", said.at)
    return [Said(kind, said.device, said.user, time, received, event_id)]


def as_said(line: IdentityLine) -> list[Said]:
    event_id = f"{round(line.received_at.timestamp() * 1e6):032x}"
    if line.kind not in ("alias", "link") or not line.old_id:
        return []
    return [Said(line.kind, line.old_id, line.distinct_id, line.timestamp, line.received_at, event_id)]


_says = st.builds(
    Meant,
    family=st.sampled_from(list(SAY)),
    does=st.sampled_from(["identify", "identify", "identify", "alias", "track"]),
    device=st.sampled_from([*DEVICES, *PLACEHOLDERS[:1], *USERS]),
    user=st.sampled_from([*USERS, *PLACEHOLDERS[1:]]),
    at=st.integers(0, 20).map(lambda minutes: NOW - timedelta(minutes=minutes)),
).filter(lambda said: said.device != said.user and not (said.family == "amplitude" and said.does == "alias"))


@given(st.lists(_says, max_size=12))
def test_any_mixture_of_families_makes_the_people_that_were_meant(story: list[Meant]) -> None:
    found: list[Said] = []
    wanted: list[Said] = []
    for number, said in enumerate(story):
        received = NOW + timedelta(seconds=number)
        found += [one for line in heard(said, received) for one in as_said(line)]
        wanted += meant(said, received)
    assert people(found) == people(wanted)


@given(st.lists(_says, max_size=12))
def test_the_worker_s_rule_counts_the_links_that_the_oracle_counts(story: list[Meant]) -> None:
    """In whatever order they come."""
    lines = [
        line for n, said in enumerate(story) for line in heard(said, NOW + timedelta(seconds=n)) if line.kind == "link"
    ]
    links = [
        Link(
            (round(line.timestamp.timestamp() * 1e6), round(line.received_at.timestamp() * 1e6), 0),
            line.old_id,
            line.user_id,
        )
        for line in lines
    ]
    assert counting(links) == counting(reversed(links))
    joined = {(link.prior, link.user) for link in counting(links)}
    assert {(one.old, one.new) for one in people_links(lines)} == joined


def people_links(lines: list[IdentityLine]) -> list[Said]:
    return counting_links([one for line in lines for one in as_said(line)])


def test_two_people_of_one_device_stay_two_in_every_family() -> None:
    for name in SAY:
        story = [
            Meant(name, "identify", "phone", "ada", NOW),
            Meant(name, "identify", "phone", "bob", NOW + timedelta(1e-3)),
        ]
        said = [
            one
            for n, each in enumerate(story)
            for line in heard(each, NOW + timedelta(seconds=n))
            for one in as_said(line)
        ]
        found = people(said)
        assert found["phone"] == found["ada"] != found["bob"], name


def test_mixpanel_s_browser_sdk_gives_the_former_user_as_the_device() -> None:
    story = [Meant("mixpanel", "identify", "phone", "ada", NOW), Meant("mixpanel", "identify", "ada", "bob", NOW)]
    said = [
        one for n, each in enumerate(story) for line in heard(each, NOW + timedelta(seconds=n)) for one in as_said(line)
    ]
    found = people(said)
    assert found["phone"] == found["ada"] != found["bob"]
