"""Values of stored JSON as text, in the one way in which ClickHouse writes them, and what can be read from it.

A string begins with a quote, a number with a digit or a minus, a missing value is empty. Of a name that stands twice in an
object the first counts. ClickHouse reads a whole number beyond 64 bits as if it were a string of its digits; here it
begins with a plus, which no JSON does.
"""

from collections.abc import Sequence

# The shortest such number has 20 characters, and two quotes.
_SHORTEST = 22
# Whole numbers from here on are not all doubles.
INEXACT_FROM = 2**53
# From here on ClickHouse writes doubles with an exponent.
EXPONENTS_FROM = 10**21
_INT128_TO = "1.7e38"
# As SQL. What stands before a number, and the number up to what is cut away.
_LONG_EXPONENT = r"([:,\\[\\s]-?[0-9.]+)[eE][+]?[0-9]{3,}"
_LONG_NUMBER = r"([:,\\[\\s]-?[0-9]{20})[0-9]{280,}"
_STRING = r'"(?:[^"\\\\]|\\\\.)*"'
# In arrays and objects: what may be a whole number beyond 64 bits, or a string of its digits, or a double of that size.
_LARGE_MEMBER = r'["\\[:,](?:[1-9][0-9]{19,}|-[1-9][0-9]{18,})[",}\\]]'


def json_text(column: str, *path: str) -> str:
    """The SQL of the text of a value in a column of JSON objects. `path`: the SQL of the names that lead to it."""
    return json_text_of_first(column, [path])


def json_text_of_first(column: str, paths: Sequence[Sequence[str]], alias: str = "") -> str:
    """As `json_text`, of the first path that leads to something. `alias`: a name for it in the statement, which is shorter with
    one."""
    raws = [f"JSONExtractRaw({column}, {', '.join(path)})" for path in paths]
    found = _first(raws, raws)
    named, raw = (f"({found} AS {alias})", alias) if alias else (found, found)
    other = _other(column, _looks_large(raw, raw))
    kind = _first(raws, [f"JSONType({other}, {', '.join(path)})" for path in paths])
    return f"if({_looks_large(named, raw)} AND {kind} != 'String', {_large(raw)}, {raw})"


def _first(raws: Sequence[str], values: Sequence[str]) -> str:
    """The value at the place of the first raw text that is not empty, else the last one."""
    value = values[-1]
    for raw, before in zip(raws[-2::-1], values[-2::-1], strict=True):
        value = f"if({raw} != '', {before}, {value})"
    return value


def json_members(column: str, *path: str) -> str:
    """The SQL of the texts of an array's members, an array itself; empty where there is none."""
    names = ", ".join(path)
    raws = f"JSONExtractArrayRaw({column}, {names})"
    others = f"JSONExtractArrayRaw({_other(column, f'isValidJSON({column})')}, {names})"
    text = f"if({_looks_large('raw', 'raw')} AND NOT {is_string('other')}, {_large('raw')}, raw)"
    return f"arrayMap((raw, other) -> {text}, {raws}, arrayResize({others}, length({raws})))"


def json_array(column: str, *path: str) -> str:
    """As `json_text`; of an array its members' texts, as an array of texts: see `array_members`."""
    text = json_text(column, *path)
    return f"if(startsWith({text}, '['), toJSONString({json_members(column, *path)}), {text})"


def array_members(text: str) -> str:
    """The SQL of the texts of the members of what `json_array` wrote."""
    return f"JSONExtract({text}, 'Array(String)')"


def _looks_large(raw: str, again: str) -> str:
    """`again`: how the text is spoken of a second time."""
    return f"length({raw}) >= {_SHORTEST:d} AND match({again}, '^\"-?[0-9]+\"$')"


def _large(raw: str) -> str:
    return f"concat('+', trim(BOTH '\"' FROM {raw}))"


def _other(column: str, condition: str) -> str:
    """The JSON as the other parser of ClickHouse reads it, which is slower: to it, such a number is a double. Of rows for which
    the condition does not hold, an empty object: ClickHouse often works this out for rows that do not need it.

    It fails for what is no JSON, and for numbers that it cannot hold, also for 0e400, and so would the whole query. Only the
    types matter here: large exponents and very long numbers are shortened first.
    """
    shorter = f"replaceRegexpAll(if({condition}, {column}, '{{}}'), '{_LONG_EXPONENT}', '\\\\1e0')"
    return f"JSONMergePatch(replaceRegexpAll({shorter}, '{_LONG_NUMBER}', '\\\\1'), '{{}}')"


def is_ambiguous(nested: str) -> str:
    """Whether the text of an array or object may stand for another value too: in it ClickHouse writes a whole number beyond
    64 bits as a string of its digits, and a double of that size as such a number."""
    return f"match({nested}, '{_LARGE_MEMBER}')"


def without_negative_zeros(nested: str) -> str:
    """An array or object with 0 for each -0."""
    return f"replaceRegexpAll({nested}, '({_STRING}|-0[.]|[eE]-0)|-(0)', '\\\\1\\\\2')"


def is_string(text: str) -> str:
    return f"startsWith({text}, '\"')"


def is_number(text: str) -> str:
    return f"({text} >= '+' AND {text} < ':')"  # + , - . / 0-9 are the characters before ':'


def is_large(text: str) -> str:
    """Whether it is a whole number beyond 64 bits."""
    return f"startsWith({text}, '+')"


def unmarked(text: str) -> str:
    """JSON as any other: of a whole number beyond 64 bits its digits."""
    return f"trim(LEADING '+' FROM {text})"


def large_as_double_written(large: str) -> str:
    """Of a whole number beyond 64 bits what ClickHouse writes for a double with these very digits; else the digits. `large` is
    a name, once in a SELECT."""
    own, written = f"{large}_digits", f"{large}_written"
    double_written = f"toString(JSONExtractFloat(concat({digits(large)} AS {own}, 'e0'))) AS {written}"
    figures = f"replaceOne(splitByChar('e', {double_written})[1], '.', '')"
    return f"if(trim(TRAILING '0' FROM {figures}) = trim(TRAILING '0' FROM {own}), {written}, {own})"


def digits(text: str) -> str:
    """Of a whole number beyond 64 bits, with its minus."""
    return f"substring({text}, 2)"


def double(text: str) -> str:
    """The nearest double of a number."""
    # No `if`: its branches would be worked out from the text's own source, with all that is for large numbers alone, for
    # each row (1,190 instead of 210 ms for the maxima of 630,000 events).
    return f"JSONExtractFloat(replaceRegexpOne({text}, '^[+](.+)', '\\\\1e0'))"


def whole_number(text: str) -> str:
    """A whole number of up to 64 bits, and what ClickHouse writes as one of a larger double; else 0."""
    return f"if({is_large(text)}, toInt128(0), toInt128OrZero({text}))"


def inexact_integer(text: str, number: str) -> str:
    """The whole number where doubles are too coarse for all of them, else 0. `number`: its double."""
    return (
        f"multiIf(abs({number}) < {INEXACT_FROM:d} OR abs({number}) >= {_INT128_TO}, toInt128(0), "
        f"position({text}, 'e') = 0, toInt128OrZero({unmarked(text)}), toInt128({number}))"
    )
