"""The families by the names that the setting HEADRACE_EDGE_SDK_FAMILIES has."""

from services.edge.protocols.amplitude import Amplitude
from services.edge.protocols.family import Family, Options
from services.edge.protocols.mixpanel import Mixpanel
from services.edge.protocols.posthog import PostHog
from services.edge.protocols.segment import Segment

FAMILIES: dict[str, type[Family]] = {
    "segment": Segment,
    "posthog": PostHog,
    "amplitude": Amplitude,
    "mixpanel": Mixpanel,
}


def families_of(names: str, options: Options) -> list[Family]:
    """In one order, whatever the operator's: at an address of several the first one speaks for all."""
    chosen = names.split(",")
    return [family(options) for name, family in FAMILIES.items() if name in chosen]
