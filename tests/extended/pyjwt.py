"""Verifies tokens by PyJWT, and signs the same claims by it.

Reads lines of JSON from standard input: `algorithm`, `private`, `public` (the same text if it is a secret), `claims`, `token`, `audience`,
`issuer`. Writes for each one `valid`, a boolean, and `token`, a token of its own. The test `pyjwt` of towerkit-auth-jwt runs it; needs
`pip install pyjwt cryptography`.
"""

import functools
import json
import sys

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key


@functools.cache
def key(text):
    """Reads a key once, because checking one of RSA takes long."""
    if "PRIVATE KEY" in text:
        return load_pem_private_key(text.encode(), None)
    return load_pem_public_key(text.encode()) if "PUBLIC KEY" in text else text


def is_valid(case):
    options = {"require": ["exp", "sub"]}
    try:
        jwt.decode(
            case["token"],
            key(case["public"]),
            algorithms=[case["algorithm"]],
            audience=case["audience"],
            issuer=case["issuer"],
            options=options,
        )
    except Exception:  # It reports some wrong types by errors of Python.
        return False
    return True


def main():
    for line in sys.stdin:
        case = json.loads(line)
        # Not `jwt.encode`, which refuses some of the claims.
        payload = json.dumps(case["claims"]).encode()
        token = jwt.api_jws.encode(payload, key(case["private"]), case["algorithm"], headers={"typ": "JWT"})
        print(json.dumps({"valid": is_valid(case), "token": token}))


main()
