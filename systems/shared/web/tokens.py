"""Bearer tokens: HS256 JWTs, signed with the secret in ONEROW_JWT_SECRET."""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from typing import Annotated, TypeVar

import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from systems.shared.errors import SystemFailure
from systems.shared.web.errors import Fault
from systems.shared.web.fields import Words

SECRET = "ONEROW_JWT_SECRET"
ALGORITHM = "HS256"
LEAST_BYTES = 32
HOUR = 3600


class Claims(BaseModel):
    """What a token says; each system adds its own."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    sub: Annotated[Words, Field(min_length=1, max_length=200, description="who")]


C = TypeVar("C", bound=Claims)


class Tokens:
    """Makes and reads tokens of one secret.

    Raises:
        SystemFailure: the secret is too short.
    """

    def __init__(self, secret: str) -> None:
        if len(secret.encode()) < LEAST_BYTES:
            raise SystemFailure(
                f"{SECRET} has less than {LEAST_BYTES} bytes. `openssl rand -hex 32` makes one."
            )
        self._secret = secret

    @classmethod
    def from_environment(cls) -> Tokens:
        """With the secret that the environment has."""
        secret = os.environ.get(SECRET)
        if not secret:
            raise SystemFailure(
                f"{SECRET} is not set: it signs the tokens. `openssl rand -hex 32` makes one."
            )
        return cls(secret)

    def mint(self, claims: Claims, seconds: float = 8 * HOUR) -> str:
        """A token that is good for some seconds."""
        said = claims.model_dump(by_alias=True, exclude_none=True)
        now = int(time.time())
        return jwt.encode(
            {**said, "iat": now, "exp": now + int(seconds)}, self._secret, algorithm=ALGORITHM
        )

    def read(self, token: str, kind: type[C]) -> C:
        """The claims of a token.

        Raises:
            Fault: 401; it does not say what is wrong with a signature.
        """
        try:
            said = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                options={"require": ["exp", "sub"], "verify_aud": False},
            )
            return kind.model_validate(said)
        except jwt.ExpiredSignatureError:
            raise unauthorized("The token has expired.") from None
        except jwt.MissingRequiredClaimError as error:
            raise unauthorized(f"The token lacks {error.claim!r}.") from None
        except jwt.InvalidTokenError:
            raise unauthorized("The token is not valid.") from None
        except ValidationError as error:
            names = ", ".join(sorted({str(e["loc"][0]) for e in error.errors()}))
            raise unauthorized(f"The token does not say, or says wrongly: {names}.") from None

    def csrf(self, token: str) -> str:
        """What a page sends along with a write, besides the cookie that holds the token."""
        return hmac.new(
            self._secret.encode(), b"csrf " + token.encode(), hashlib.sha256
        ).hexdigest()


def unauthorized(message: str) -> Fault:
    """401, with the header that it must have (RFC 9110, 15.5.2)."""
    return Fault(401, message, headers={"WWW-Authenticate": "Bearer"})
