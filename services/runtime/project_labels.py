"""The label `project` of metrics, bounded: a metric with a series for each of ten thousand projects is a fault of its own."""

OTHERS = "(others)"
MOST_PROJECTS = 100


class ProjectLabels:
    """The first projects that are seen have their own name as label; all later ones share one."""

    def __init__(self, most: int = MOST_PROJECTS) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, project_id: str) -> str:
        if project_id in self._known:
            return project_id
        if len(self._known) >= self._most:
            return OTHERS
        self._known.add(project_id)
        return project_id
