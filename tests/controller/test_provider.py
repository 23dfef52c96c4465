"""Signing in through a real OpenID provider in a process of its own, and what a lying provider or a thief can do."""

import html
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from joserfc import jwk, jwt

PROGRAM = Path(__file__).with_name("identity_provider.py")
BACK = "/sign-in/provider/back"


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        environment = {**os.environ, "AUTHLIB_INSECURE_TRANSPORT": "1"}
        process = subprocess.Popen([sys.executable, PROGRAM, str(port)], env=environment, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(600):
                try:
                    requests.get(f"{url}/jwks", timeout=5)
                    break
                except requests.ConnectionError:
                    assert process.poll() is None
                    time.sleep(0.1)
            user(url, "1", preferred_username="anna", groups=["soc"], email="anna@corp.example", email_verified=True)
            yield url
        finally:
            process.kill()
            process.wait()


def user(provider: str, subject: str, **claims: Any) -> None:
    assert requests.put(f"{provider}/users/{subject}", json=claims, timeout=30).status_code == 204


@pytest.fixture(scope="module")
def lab(provider: str, some_controllers: Callable[[], Any]) -> Iterator[Any]:
    with some_controllers() as make:
        yield make(
            oidc_issuer=provider, oidc_client_secret="hidden-5e1f", oidc_title="Corp", oidc_domains='["corp.example"]',
            oidc_roles='{"soc": ["user"], "leads": ["power", "mltk_model_admin"]}',
        )  # fmt: skip


@pytest.fixture(autouse=True)
def _honest(provider: str) -> Iterator[None]:
    yield
    requests.put(f"{provider}/lie", json={"how": ""}, timeout=30)


class Browser(requests.Session):
    """Follows nothing by itself; asks for pages, as browsers do."""

    def __init__(self, lab: Any) -> None:
        super().__init__()
        self.lab = lab
        self.headers["Accept"] = "text/html"

    def begin(self, target: str = "/") -> str:
        """Press the button; gives the provider's address."""
        answer = self.get(
            f"{self.lab.url}/sign-in/provider", params={"next": target}, allow_redirects=False, timeout=30
        )
        assert answer.status_code == 303, answer.text
        return str(answer.headers["Location"])

    def consent(self, address: str, subject: str = "1") -> str:
        """Sign in there; gives the address that leads back."""
        answer = requests.post(address, data={"sub": subject}, allow_redirects=False, timeout=30)
        assert answer.status_code == 302, answer.text
        return str(answer.headers["Location"])

    def come_back(self, address: str) -> requests.Response:
        return self.get(address, allow_redirects=False, timeout=30)

    def sign_in(self, subject: str = "1", target: str = "/") -> requests.Response:
        return self.come_back(self.consent(self.begin(target), subject))

    def me(self) -> requests.Response:
        return self.get(f"{self.lab.url}/api/me", headers={"Accept": "application/json"}, timeout=30)


@pytest.fixture
def browser(lab: Any) -> Iterator[Browser]:
    with Browser(lab) as made:
        yield made


def test_the_first_sign_in_makes_the_user(lab: Any, browser: Browser) -> None:
    page = browser.get(f"{lab.url}/sign-in?next=/models", timeout=30).text
    assert "Sign in with Corp" in page
    assert "/sign-in/provider?next=/models" in page
    landing = browser.sign_in(target="/models")
    assert landing.status_code == 200
    assert 'content="0;url=/models"' in landing.text
    cookies = landing.headers["Set-Cookie"].lower()
    assert "labdock_session=lds_" in cookies
    assert "samesite=strict" in cookies
    assert browser.me().json()["user"] == "anna"
    assert browser.me().json()["roles"] == ["user"]
    assert {one["name"]: one["has_password"] for one in lab("GET", "/api/users").json()}["anna"] is False
    (entry,) = [one for one in lab("GET", "/api/audit?user=anna").json() if one["via"] == "provider"]
    assert entry["status"] == 200


def test_what_is_asked_of_the_provider(lab: Any, browser: Browser) -> None:
    asked = {name: values[0] for name, values in parse_qs(urlsplit(browser.begin()).query).items()}
    assert asked["response_type"] == "code"
    assert asked["client_id"] == "labdock"
    assert asked["redirect_uri"] == f"{lab.url}{BACK}"
    assert asked["code_challenge_method"] == "S256"
    assert asked["scope"].split() == ["openid", "profile", "email"]
    assert all(len(asked[name]) >= 40 for name in ("state", "nonce", "code_challenge"))
    assert "hidden-5e1f" not in str(asked)
    other = {name: values[0] for name, values in parse_qs(urlsplit(browser.begin()).query).items()}
    assert all(asked[name] != other[name] for name in ("state", "nonce", "code_challenge"))


def test_roles_follow_the_provider(lab: Any, provider: str, browser: Browser) -> None:
    mail = {"email": "ben@corp.example", "email_verified": True}
    user(provider, "2", preferred_username="ben", groups=["soc"], **mail)
    browser.sign_in("2")
    assert browser.me().json()["roles"] == ["user"]
    user(provider, "2", preferred_username="renamed", groups=["leads"], **mail)
    with Browser(lab) as again:
        again.sign_in("2")
        assert again.me().json()["user"] == "ben"  # the subject counts, not the name
    assert browser.me().json()["roles"] == ["mltk_model_admin", "power"]  # in open sessions, too
    user(provider, "2", groups=[], **mail)
    with Browser(lab) as out:
        refused = out.sign_in("2")
        assert (refused.status_code, "gives you no role" in refused.text) == (403, True)
    lab("PATCH", "/api/users/ben", {"active": False})
    user(provider, "2", groups=["soc"], **mail)
    with Browser(lab) as off:
        assert off.sign_in("2").status_code == 403
        assert off.me().status_code == 401


def test_nobody_gets_anothers_name(lab: Any, provider: str, browser: Browser) -> None:
    user(provider, "3", preferred_username="admin", groups=["soc"], email="x@corp.example", email_verified=True)
    refused = browser.sign_in("3")
    assert refused.status_code == 409
    assert browser.me().status_code == 401
    assert lab("GET", "/api/users/admin").json()["roles"] == ["admin", "mltk_model_admin"]


@pytest.mark.parametrize(
    "claims",
    [{"email": "eve@evil.example", "email_verified": True}, {"email": "eve@corp.example", "email_verified": False},
     {"email": "eve@corp.example"}, {"email": "eve@corp.example@evil.example", "email_verified": True}, {}],
)  # fmt: skip
def test_only_verified_addresses_of_allowed_domains(provider: str, browser: Browser, claims: dict[str, Any]) -> None:
    user(provider, "4", preferred_username="eve", groups=["soc"], **claims)
    assert browser.sign_in("4").status_code == 403
    assert browser.me().status_code == 401


LIES = ["nonce", "no nonce", "audience", "audiences", "azp", "issuer", "expired", "no expiry", "none", "key", "hmac",
        "changed"]  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_token_that_is_not_right_signs_nobody_in(provider: str, browser: Browser, lie: str) -> None:
    requests.put(f"{provider}/lie", json={"how": lie}, timeout=30)
    refused = browser.sign_in()
    assert refused.status_code == 401, lie
    assert "labdock_session" not in refused.headers.get("Set-Cookie", "")
    assert browser.me().status_code == 401
    requests.put(f"{provider}/lie", json={"how": "again, but right"}, timeout=30)
    assert browser.sign_in().status_code == 200  # signed anew and right: the lie alone was refused


def test_an_answer_works_once_and_in_its_browser_only(lab: Any, browser: Browser) -> None:
    address = browser.consent(browser.begin())
    with Browser(lab) as thief:  # the answer of another browser: neither a theft nor a trap
        assert thief.come_back(address).status_code == 401
        thief.begin()
        assert thief.come_back(address).status_code == 401
    assert browser.come_back(address).status_code == 200
    assert browser.come_back(address).status_code == 401  # replayed
    assert browser.come_back(f"{lab.url}{BACK}?code=x&state=guessed").status_code == 401
    assert browser.come_back(f"{lab.url}{BACK}").status_code == 401


def test_a_code_of_another_flow_is_refused(lab: Any, browser: Browser) -> None:
    """An attacker's code in the victim's flow: PKCE and the nonce both forbid it."""
    with Browser(lab) as attacker:
        stolen = parse_qs(urlsplit(attacker.consent(attacker.begin())).query)["code"][0]
    state = parse_qs(urlsplit(browser.begin()).query)["state"][0]
    refused = browser.come_back(f"{lab.url}{BACK}?code={stolen}&state={state}")
    assert refused.status_code == 401
    assert browser.me().status_code == 401


def test_a_denial_and_a_mix_up_are_said(lab: Any, browser: Browser) -> None:
    state = parse_qs(urlsplit(browser.begin()).query)["state"][0]
    denied = browser.come_back(f"{lab.url}{BACK}?error=access_denied&state={state}")
    assert (denied.status_code, "access_denied" in denied.text) == (401, True)
    address = browser.consent(browser.begin())
    assert browser.come_back(f"{address}&iss=https://elsewhere.example").status_code == 401


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_it_leads_to_our_own_pages_only(browser: Browser, target: str) -> None:
    landing = browser.sign_in(target=target)
    assert landing.status_code == 200
    assert "evil" not in landing.text
    assert 'content="0;url=/"' in landing.text


def test_what_leads_on_is_no_markup(browser: Browser) -> None:
    landing = browser.sign_in(target='/x"><script>alert(1)</script>')
    assert "<script>" not in landing.text


def test_a_provider_that_is_gone_is_named(make_controller: Any) -> None:
    lab = make_controller(oidc_issuer="http://127.0.0.1:9")
    with Browser(lab) as browser:
        gone = browser.get(f"{lab.url}/sign-in/provider", allow_redirects=False, timeout=60)
        assert gone.status_code == 502
        assert "does not answer" in gone.text


def test_without_a_provider_there_is_no_way(shared_controller: Any) -> None:
    assert "Sign in with" not in requests.get(f"{shared_controller.url}/sign-in", timeout=30).text
    for path in ("/sign-in/provider", f"{BACK}?code=x&state=y"):
        assert requests.get(f"{shared_controller.url}{path}", timeout=30).status_code == 404


def test_sign_out_ends_the_session(lab: Any, browser: Browser) -> None:
    browser.sign_in()
    assert browser.me().status_code == 200
    browser.post(f"{lab.url}/api/sign-out", headers={"Origin": lab.url}, timeout=30)
    assert browser.me().status_code == 401


def test_the_secret_is_in_no_answer_and_no_log(lab: Any) -> None:
    assert "hidden-5e1f" not in lab("GET", "/api/settings").text
    assert "hidden-5e1f" not in lab.text()


def sign_out(browser: Browser) -> requests.Response:
    """Press the button, as a form of ours does."""
    return browser.post(
        f"{browser.lab.url}/sign-out", headers={"Origin": browser.lab.url}, allow_redirects=False, timeout=30
    )


def test_signing_out_leads_to_the_providers_sign_out_and_back(lab: Any, provider: str, browser: Browser) -> None:
    user(provider, "7", preferred_username="olga", groups=["soc"], email="olga@corp.example", email_verified=True)
    browser.sign_in("7")
    page = sign_out(browser)
    assert page.status_code == 200
    assert browser.me().status_code == 401  # ours has ended, whatever happens there
    assert 'labdock_session=""' in page.headers["Set-Cookie"]
    address = html.unescape(page.text.split("0;url=")[1].split('"')[0])
    metadata = requests.get(f"{provider}/.well-known/openid-configuration", timeout=30).json()
    assert address.startswith(f"{metadata['end_session_endpoint']}?")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    keys = jwk.KeySet.import_key_set(requests.get(metadata["jwks_uri"], timeout=30).json())
    claims = jwt.decode(asked["id_token_hint"], keys).claims  # what the provider signed, for us and of this user
    assert (claims["sub"], claims["iss"].rstrip("/")) == ("7", provider)
    assert "labdock" in claims["aud"]
    assert asked["client_id"] == "labdock"
    assert asked["post_logout_redirect_uri"] == f"{lab.url}/sign-in"
    # The provider takes it: its page asks whether to sign this user out, and leads back to us.
    there = requests.get(address, timeout=30)
    assert there.status_code == 200
    assert f"{lab.url}/sign-in" in html.unescape(there.text)
    again = sign_out(browser)  # nothing left to end, at either side
    assert (again.status_code, again.headers["Location"]) == (303, "/sign-in")


def test_a_session_that_began_here_ends_here_alone(lab: Any, browser: Browser) -> None:
    link = lab("POST", "/api/tickets").json()["url"]
    browser.get(link, allow_redirects=False, timeout=30)
    assert browser.me().status_code == 200
    answer = sign_out(browser)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
    assert browser.me().status_code == 401
