"""The body of a deletion -> what to delete, or an ApiError that names the field. Pure."""

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.privacy import PrivacyDelete
from services.contract.api.validation import refuse_nul
from services.query.persons.deletions import NewDeletion
from services.query.request.decode import decode
from services.query.request.time_window import parse_time_window


def parse_privacy_delete(body: bytes) -> tuple[NewDeletion, list[str]]:
    """The deletion and the warnings."""
    asked, warnings = decode(body, PrivacyDelete)
    refuse_nul(asked.distinct_id, "distinct_id")
    refuse_nul(asked.idempotency_key, "idempotency_key")
    if asked.distinct_id is not None:
        for name in ("since", "until", "timezone"):
            if getattr(asked, name) is not None:
                raise ApiError(
                    ErrorCode.INVALID_FIELD,
                    f"`{name}` does not go with `distinct_id`: a person is deleted with all data up to now.",
                    field=name,
                )
        return NewDeletion(asked.distinct_id, None, asked.idempotency_key), warnings
    if asked.since is None or asked.until is None:
        missing = "distinct_id" if asked.since is asked.until else "since" if asked.since is None else "until"
        raise ApiError(
            ErrorCode.MISSING_FIELD,
            f"`{missing}` is missing: say `distinct_id`, or `since` and `until`.",
            field=missing,
        )
    return NewDeletion(
        None, parse_time_window(asked.since, asked.until, asked.timezone), asked.idempotency_key
    ), warnings
