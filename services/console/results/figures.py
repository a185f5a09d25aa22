"""What all figures of Plotly have in common. Colours of text and grid are the page's: its module fills them in."""

from typing import Any

Figure = dict[str, Any]
# Of the same lightness about, so that they can be told apart on white and on black.
PALETTE = (
    "#3f76d6",
    "#d9822b",
    "#2f9e74",
    "#b45aa0",
    "#97902e",
    "#cf5050",
    "#38a1b8",
    "#8067d0",
    "#93745a",
    "#6d8196",
)
_FAINT = "80"  # half as strong, after a colour


def colour(number: int) -> str:
    return PALETTE[number % len(PALETTE)]


def faint(of: str) -> str:
    return of + _FAINT


def figure(traces: list[dict[str, Any]], **layout: Any) -> Figure:
    base = {
        "margin": {"l": 48, "r": 16, "t": 8, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {"align": "left"},
        "separators": ".\u202f",
    }
    return {"data": traces, "layout": base | layout}


def plain(text: str) -> str:
    """Plotly reads a few tags in texts, and `%{...}`: names of events are no markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%{", "%\u200b{")
