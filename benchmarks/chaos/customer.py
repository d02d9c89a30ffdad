"""Who submits the runs, through REST, and does not give up when the API is killed under a request.

A request that was cut off is sent again with the same Idempotency-Key: the run must not be there twice.
"""

import time
import uuid
from collections import Counter
from typing import Any

import httpx

_PATIENCE = 300.0


class Customer:
    def __init__(self, url: str, token: str, forgiven: str | None = None) -> None:
        """`forgiven`: the code of an answer that is no fault, since what it is about was killed."""
        self._forgiven = forgiven
        self._client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=httpx.Timeout(20.0, connect=2.0)
        )
        self.refusals: Counter[str] = Counter()
        """Answers nobody should get: by method, path and status."""
        self.cut_off = 0
        """Requests that were sent again because nobody answered."""
        self.put_off = 0
        """Requests that were sent again because the answer was the forgiven one."""

    def post(self, path: str, body: Any) -> Any:
        return self._ask("POST", path, json=body, headers={"Idempotency-Key": uuid.uuid4().hex}).json()

    def get(self, path: str) -> Any:
        return self._ask("GET", path).json()

    def file(self, path: str) -> bytes:
        return self._ask("GET", path).content

    def close(self) -> None:
        self._client.close()

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        deadline = time.monotonic() + _PATIENCE
        while True:
            answer = self._once(method, path, **options)
            if answer is not None and answer.is_success:
                return answer
            if answer is not None and self._is_forgiven(answer):
                self.put_off += 1
            elif answer is not None and answer.status_code != httpx.codes.CONFLICT:
                self.refusals[f"{method} {path.split('?')[0]}: {answer.status_code}"] += 1
                print(f"{method} {path}: {answer.status_code} {answer.text[:500]}", flush=True)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{method} {path} was not answered within {_PATIENCE:.0f} s")
            time.sleep(0.3)

    def _is_forgiven(self, answer: httpx.Response) -> bool:
        is_away = answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
        return is_away and self._forgiven is not None and answer.json().get("code") == self._forgiven

    def _once(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """None when nobody answered. 409 says that the request that was cut off is still under way."""
        try:
            return self._client.request(method, path, **options)
        except httpx.TransportError:
            self.cut_off += 1
            return None
