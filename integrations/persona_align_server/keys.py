"""API keys: each is bound to one user, or is a service's that may act for any."""

import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from persona_align.errors import MissingUserError, PersonaAlignError, require_user

__all__ = ["ANY_USER", "Caller", "ForbiddenUserError", "Keys", "UnknownKeyError", "caller"]

ANY_USER = "*"


class UnknownKeyError(PersonaAlignError):
    """The request carries no API key that the server knows."""


class ForbiddenUserError(PersonaAlignError):
    """The API key belongs to another user."""


class Keys:
    """Which key may act for whom.

    Args:
        users: API key to user id; "*" may act for any user.

    Example:
        >>> keys = Keys({"key-of-ada": "ada", "service": "*"})
        >>> keys.user("key-of-ada"), keys.user("service")
        ('ada', '*')
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        for key, user_id in users.items():
            if len(key) < 4:
                msg = f"an API key must have at least four characters, not {len(key)}"
                raise ValueError(msg)
            require_user(user_id)
        self._users = dict(users)

    def __len__(self) -> int:
        return len(self._users)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Keys from a JSON object of key to user.

        Raises:
            PersonaAlignError: The file cannot be read, or holds something else.
        """
        remedy = 'It holds one JSON object of key to user, {"key-of-ada": "ada", "key-of-my-app": "*"}.'
        try:
            users = json.loads(Path(path).read_text(encoding="utf-8"))
            if not isinstance(users, dict) or not users or not all(isinstance(user, str) for user in users.values()):
                raise PersonaAlignError(f"{path} names no keys.", remedy)
            return cls(users)
        except (OSError, ValueError) as error:
            raise PersonaAlignError(f"The keys in {path} cannot be read: {error}.", remedy) from error

    def user(self, key: str) -> str:
        """The user of a key, compared in constant time.

        Raises:
            UnknownKeyError: There is no such key.
        """
        found = None
        for known, user_id in self._users.items():
            if hmac.compare_digest(known.encode(), key.encode()):
                found = user_id
        if found is None:
            raise UnknownKeyError("The API key is not known.", "Send `Authorization: Bearer KEY` with a key of yours.")
        return found


class Caller:
    """Who sends a request, and for whom they may act."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id

    def acting_for(self, user_id: str | None) -> str:
        """The user that a request concerns.

        Raises:
            ForbiddenUserError: The key belongs to somebody else.
            MissingUserError: A service named no user.
        """
        if self.user_id == ANY_USER:
            try:
                return require_user(user_id)
            except MissingUserError as error:
                raise MissingUserError(error.message, "Name one in `user`, or use a key of theirs.") from None
        if user_id not in (None, "", self.user_id):
            raise ForbiddenUserError("This API key belongs to another user.", "Use the key of the user you name.")
        return self.user_id


_bearer = HTTPBearer(auto_error=False)


def caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)] = None
) -> Caller:
    """The caller of a request; a server without keys, for use on one's own machine, lets anyone act for anyone."""
    keys: Keys | None = request.app.state.keys
    if keys is None:
        return Caller(ANY_USER)
    if credentials is None:
        raise UnknownKeyError("The request carries no API key.", "Send `Authorization: Bearer KEY`.")
    return Caller(keys.user(credentials.credentials))
