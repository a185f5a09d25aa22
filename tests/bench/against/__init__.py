"""Two builds side by side: `make bench-against BASE=<commit>`. The README beside it says how to read its figures."""
