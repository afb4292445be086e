"""The schema registry, by Confluent's HTTP interface."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Dict, Optional, Tuple

# How long one call may take, and the longest answer that is read.
TIMEOUT = 5.0
LARGEST_ANSWER = 2 << 20
_NO_SUBJECT, _NO_SCHEMA = 40401, 40403


class Trouble(Exception):
    """The registry is away or has trouble of its own: waiting mends it."""


class Unknown(Exception):
    """The registry answers, but has nothing usable for this id."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer of somebody in between."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Registry:
    def __init__(self, url: str):
        parts = urllib.parse.urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        # Kept apart, so that no message shows the password.
        self._base = urllib.parse.urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self._headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
        if parts.username:
            user = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
        self._opener = urllib.request.build_opener(_NoRedirect())

    def register(self, subject: str, schema: str) -> int:
        """The id of `schema` under `subject`, which demands FULL_TRANSITIVE from its first version on."""
        path = f"/subjects/{urllib.parse.quote(subject, safe='')}"
        status, found = self._call("POST", path, {"schema": schema})
        if status == 200:
            return int(found["id"])
        if found.get("error_code") not in (_NO_SUBJECT, _NO_SCHEMA):
            raise Trouble(f"looking for {subject}: status {status} {found.get('message', '')}".rstrip())
        level = f"/config/{urllib.parse.quote(subject, safe='')}"
        status, said = self._call("GET", level)
        if status != 200 or said.get("compatibilityLevel") != "FULL_TRANSITIVE":
            self._well("PUT", level, {"compatibility": "FULL_TRANSITIVE"})
        return int(self._well("POST", path + "/versions", {"schema": schema})["id"])

    def schema(self, schema_id: int, known: Optional[int]) -> str:
        """The schema behind an id. `known` is one that the registry has answered for: if it doesn't now, the trouble is the registry's."""
        status, found = self._call("GET", f"/schemas/ids/{schema_id}")
        if status == 200:
            if found.get("schemaType", "AVRO") != "AVRO" or found.get("references"):
                raise Unknown(f"schema {schema_id} isn't Avro, or refers to other schemas")
            return str(found["schema"])
        if status == 404 and found.get("error_code") == _NO_SCHEMA:
            raise Unknown(f"the registry has no schema with id {schema_id}")
        if known is not None and self._call("GET", f"/schemas/ids/{known}")[0] == 200:
            raise Unknown(f"the registry is up but refuses schema {schema_id}: status {status}")
        raise Trouble(f"looking up schema {schema_id}: status {status} {found.get('message', '')}".rstrip())

    def _well(self, method: str, path: str, body: Dict[str, Any]) -> Dict[str, Any]:
        status, found = self._call(method, path, body)
        if status != 200:
            raise Trouble(f"{method} {path}: status {status} {found.get('message', '')}".rstrip())
        return found

    def _call(self, method: str, path: str, body: Optional[Dict[str, Any]] = None) -> Tuple[int, Dict[str, Any]]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, self._headers, method=method)
        try:
            try:
                with self._opener.open(request, timeout=TIMEOUT) as answer:
                    status, text = answer.status, answer.read(LARGEST_ANSWER)
            except urllib.error.HTTPError as error:
                with error:
                    status, text = error.code, error.read(LARGEST_ANSWER)
        except OSError as error:
            raise Trouble(f"{method} {path}: {getattr(error, 'reason', error)}") from error
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            # Not the registry's words.
            raise Trouble(f"{method} {path}: status {status} and no JSON object")
        return status, found
