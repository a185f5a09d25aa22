"""Foreign text for a terminal: what would move the cursor, hide or turn text around is shown as its code."""


def printable(text: str) -> str:
    """One line in which every character is one that shows itself; `\\x1b`, `\\n` and the like stand for the others."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _code(char) for char in text)


def _code(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
