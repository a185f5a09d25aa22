"""A budget of bytes that a process holds at once, shared by projects: none may take more than half of it."""

from collections import Counter


class BudgetExceededError(Exception):
    """`of_project`: the project has its half; else all is taken."""

    def __init__(self, *, of_project: bool) -> None:
        super().__init__("the project has its half of the bytes" if of_project else "all bytes are taken")
        self.of_project = of_project


class ByteBudget:
    """Belongs to one event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._of_project: Counter[str] = Counter()
        self.held_bytes = 0

    def reserve(self, project_id: str, size: int) -> None:
        """Each is followed by `free` of as many. Raises BudgetExceededError."""
        if self._of_project[project_id] + size > self._max_bytes // 2:
            raise BudgetExceededError(of_project=True)
        if self.held_bytes + size > self._max_bytes:
            raise BudgetExceededError(of_project=False)
        self.held_bytes += size
        self._of_project[project_id] += size

    def free(self, project_id: str, size: int) -> None:
        self.held_bytes -= size
        self._of_project[project_id] -= size
        if self._of_project[project_id] <= 0:
            del self._of_project[project_id]
