"""A dead letter: what could not be taken, why, and where it came from. One JSON object a Kafka record; a letter that is
too large for one record is several, each with a piece of the payload."""

import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec
from msgspec import Struct

from services.contract.latin_1 import LATIN_1

# A record has to fit into the topic, also where JSON writes six bytes for one character (NUL).
PIECE_CHARS = 512 * 1024


class Origin(Struct, kw_only=True, omit_defaults=True):
    """Where the payload was found: at the edge (`index` in its batch), or in the log (`line` counts from 0)."""

    service: str
    index: int | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    line: int | None = None


class DeadLetter(Struct, kw_only=True):
    """`payload` is the event as it came (see `payload_text`); `code` says why it was not taken.

    Whose it is and which event it is say `project_id` and `event_id` (32 hexadecimal digits) alone, never the payload of
    an edge's letter, which a client wrote. Empty where nobody could tell: of the edge's letters the id, of the worker's
    what neither the record nor a readable part of the line says.
    """

    code: str
    message: str
    origin: Origin
    payload: str
    at: datetime
    project_id: str = ""
    event_id: str = ""
    # Of a letter in pieces: which one it belongs to, and that this is piece n (from 1 on) of m.
    letter_id: str = ""
    piece: int = 1
    pieces: int = 1

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    def records(self) -> list[bytes]:
        """The letter as values of Kafka records: as a rule one."""
        if len(self.payload) <= PIECE_CHARS:
            return [self.encode()]
        letter_id, text = uuid.uuid4().hex, self.payload
        texts = [text[at : at + PIECE_CHARS] for at in range(0, len(text), PIECE_CHARS)]
        return [
            msgspec.structs.replace(self, payload=piece, letter_id=letter_id, piece=n, pieces=len(texts)).encode()
            for n, piece in enumerate(texts, 1)
        ]


class Pieces:
    """Puts letters together again, in whatever order their pieces come."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[int, DeadLetter]] = {}

    def add(self, letter: DeadLetter) -> DeadLetter | None:
        """The whole letter, once all of it is there."""
        if letter.pieces == 1:
            return letter
        pieces = self._waiting.setdefault(letter.letter_id, {})
        pieces[letter.piece] = letter
        if len(pieces) < letter.pieces:
            return None
        del self._waiting[letter.letter_id]
        return _joined(pieces.values())

    def incomplete(self) -> Iterator[DeadLetter]:
        """What is there of the letters that lack a piece; their messages say so."""
        for pieces in self._waiting.values():
            letter, of = _joined(pieces.values()), next(iter(pieces.values())).pieces
            letter.message += f" ({len(pieces)} of the letter's {of} pieces are in the topic)"
            yield letter


def _joined(pieces: Iterable[DeadLetter]) -> DeadLetter:
    """One letter, as it was before it was cut."""
    in_order = sorted(pieces, key=lambda letter: letter.piece)
    payload = "".join(letter.payload for letter in in_order)
    return msgspec.structs.replace(in_order[0], payload=payload, letter_id="", piece=1, pieces=1)


def payload_text(payload: bytes) -> str:
    """A payload as text. Bytes that are no UTF-8 are read as Latin-1, which most of them are, so that none is lost."""
    return payload.decode(errors="surrogateescape").translate(LATIN_1)


def decode_dead_letter(value: bytes) -> DeadLetter:
    """One record: a letter, or a piece of one (see Pieces). Raises msgspec.DecodeError."""
    return msgspec.json.decode(value, type=DeadLetter)
