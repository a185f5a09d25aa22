"""What is wrong with a query before the API has seen it."""


class QueryError(Exception):
    """`place`: the parameter of the address that it is about."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message
