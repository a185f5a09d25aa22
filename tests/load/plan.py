"""What the producers are to do, and what they have done: between the runner and the producers' process."""

from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

BATCHES, SINGLES, SDKS = "batches", "singles", "sdks"
KINDS = (BATCHES, SINGLES, SDKS)
# By events. Sizes of requests: from, to.
SHARES = {BATCHES: 0.95, SINGLES: 0.03, SDKS: 0.02}
SIZES = {BATCHES: (100, 1000), SINGLES: (1, 1), SDKS: (20, 100)}


class Plan(Struct, kw_only=True):
    """`rate` in events a second. `repeats`: the part of requests that is sent again after its 2xx. `run`: sets keys apart.

    `..._s`: of each so many a second. `query_key` may ask and delete; `key` may send alone, as the keys of browsers.
    """

    edges: list[str]
    queries: list[str]
    key: str
    query_key: str
    rate: float
    seconds: float
    run: int
    seed: int = 1
    repeats: float = 0.01
    queries_s: float = 0.2
    dashboards_s: float = 0
    identities_s: float = 0
    deletions_s: float = 0


class Asked(Struct, array_like=True):
    """One query: `at` on the monotonic clock, status 0 where there was no answer."""

    kind: str
    at: float
    took_s: float
    status: int


class Gone(Struct, array_like=True):
    """A person that was deleted: the deletion, and the numbers of its events."""

    distinct_id: str
    deletion_id: str
    numbers: tuple[int, int]


class Sent(Struct, kw_only=True):
    """Requests in arrays, one element each: numbers of events `first` to `first + events`; moments on the monotonic
    clock, `answered` NaN where no 2xx came; `kind` an index of KINDS."""

    kind: NDArray[np.uint8]
    first: NDArray[np.uint64]
    events: NDArray[np.uint32]
    due: NDArray[np.float64]
    answered: NDArray[np.float64]
    tries: NDArray[np.uint32]


class Told(Struct, kw_only=True):
    """What the producers say besides: refusals by status (0: no answer), repeats, queries, other calls."""

    numbers: int
    started_at: float
    repeats: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    identities: int = 0
    gone: list[Gone] = field(default_factory=list)


def write(folder: Path, sent: Sent, told: Told) -> None:
    np.savez(folder / "sent.npz", **msgspec.structs.asdict(sent))
    (folder / "told.json").write_bytes(msgspec.json.encode(told))


def read(folder: Path) -> tuple[Sent, Told]:
    with np.load(folder / "sent.npz") as arrays:
        sent = Sent(**{name: arrays[name] for name in Sent.__struct_fields__})
    return sent, msgspec.json.decode((folder / "told.json").read_bytes(), type=Told)
