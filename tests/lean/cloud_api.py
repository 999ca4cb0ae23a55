"""Run the lean CLI with a stand-in for QuantConnect's API, and print as JSON what the API was asked for.

    python cloud_api.py cloud push --project OnlinePortfolio
"""

import json
import sys
from types import SimpleNamespace
from typing import Any

from lean.commands import lean
from lean.container import container
from lean.models.api import QCProject

CREATED = "2026-01-01T00:00:00"


class Projects:
    """One organization's projects; every request is kept."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    def create(self, name: str, language: Any, organization_id: str) -> QCProject:
        self.requests.append({"create": name, "language": language.value, "organization": organization_id})
        return self._project(name)

    def get(self, project_id: int, organization_id: str) -> QCProject:
        self.requests.append({"get": project_id, "organization": organization_id})
        return self._project("OnlinePortfolio")

    def update(self, project_id: int, **changes: Any) -> None:
        self.requests.append({"update": project_id, **changes})

    def _project(self, name: str) -> QCProject:
        return QCProject(
            projectId=7,
            organizationId="mine",
            name=name,
            description="",
            modified=CREATED,
            created=CREATED,
            language="Py",
            collaborators=[],
            leanVersionId=-1,
            leanPinnedToMaster=True,
            leanEnvironment=1,
            parameters=[],
            libraries=[],
        )


if __name__ == "__main__":
    projects = Projects()
    container.initialize(api_client=SimpleNamespace(projects=projects))
    container.data_downloader.update_database_files = lambda: None
    lean.main(sys.argv[1:], standalone_mode=False)
    print("REQUESTS", json.dumps(projects.requests))
