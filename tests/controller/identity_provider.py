"""A real OpenID provider in a process of its own (`python identity_provider.py PORT`): oidc-provider-mock, which issues
and signs like one, with PKCE enforced, and able to lie: `PUT /lie {"how": …}` spoils the ID tokens that it gives next.
"""

import base64
import hashlib
import json
import sys
import time
import warnings
from typing import Any

warnings.simplefilter("ignore")

import flask  # noqa: E402
import oidc_provider_mock  # noqa: E402
from joserfc import jwk, jwt  # noqa: E402
from oidc_provider_mock._storage import storage  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402

OTHERS_KEY = jwk.RSAKey.generate_key(2048, private=True)


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def unsigned(claims: dict[str, Any]) -> str:
    parts = (json.dumps({"alg": "none"}), json.dumps(claims))
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts) + "."


def spoiled(token: str, how: str, private: dict[str, Any]) -> str:  # noqa: C901 - a table of lies
    claims, key = claims_of(token), jwk.RSAKey.import_key(private)
    header = {"alg": "RS256", "kid": key.kid} if key.kid else {"alg": "RS256"}
    match how:
        case "nonce":
            claims["nonce"] = "another"
        case "no nonce":
            claims.pop("nonce")
        case "audience":
            claims["aud"] = "somebody-else"
        case "audiences":
            claims["aud"] = [claims["aud"] if isinstance(claims["aud"], str) else claims["aud"][0], "somebody-else"]
        case "azp":
            claims["azp"] = "somebody-else"
        case "issuer":
            claims["iss"] = "https://elsewhere.example"
        case "expired":
            claims |= {"iat": int(time.time()) - 7200, "exp": int(time.time()) - 3600}
        case "no expiry":
            claims.pop("exp")
        case "none":
            return unsigned(claims)
        case "key":
            key = OTHERS_KEY
        case "hmac":  # signed with the public key as the secret
            public = jwk.RSAKey.import_key(private).as_pem(private=False)
            head = base64.urlsafe_b64encode(b'{"alg":"HS256"}').decode().rstrip("=")
            body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
            import hmac

            mac = hmac.new(public, f"{head}.{body}".encode(), "sha256").digest()
            return f"{head}.{body}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
        case "changed":
            head, body, signature = token.split(".")
            other = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "root"}).encode()).decode().rstrip("=")
            return f"{head}.{other}.{signature}"
    return str(jwt.encode(header, claims, key, algorithms=["RS256"]))


def main(port: int) -> None:
    app = oidc_provider_mock.app(require_nonce=True)
    challenges: dict[str, str] = {}
    lie = {"how": ""}

    @app.put("/lie")
    def set_lie() -> Any:
        lie["how"] = flask.request.json["how"]
        return "", 204

    @app.before_request
    def check_verifier() -> Any:
        if flask.request.path == "/oauth2/token":
            digest = hashlib.sha256(flask.request.form.get("code_verifier", "").encode()).digest()
            proof = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            if challenges.get(flask.request.form.get("code", "")) != proof:
                return flask.jsonify({"error": "invalid_grant", "error_description": "PKCE"}), 400
        return None

    @app.after_request
    def remember_and_lie(answer: Any) -> Any:
        request = flask.request
        if request.path == "/oauth2/authorize" and "code=" in answer.headers.get("Location", ""):
            assert request.args["code_challenge_method"] == "S256"
            code = answer.headers["Location"].split("code=")[1].split("&")[0]
            challenges[code] = request.args["code_challenge"]
        if request.path == "/oauth2/token" and answer.status_code == 200 and lie["how"]:
            token = answer.get_json()
            token["id_token"] = spoiled(token["id_token"], lie["how"], storage.jwk.as_dict(is_private=True))
            answer.set_data(json.dumps(token))
        return answer

    make_server("127.0.0.1", port, app, threaded=True).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
