import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from control.errors import NotReady
from control.settings import load_settings
from control.signing import check_of, secret_of, signature_headers, signing_key

KEY = "k" * 32


def test_the_embedded_service_makes_its_own_key_once(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        (key,) = set(pool.map(lambda _: signing_key(settings), range(8)))
    assert len(key) >= 32
    assert [entry.name for entry in tmp_path.iterdir()] == ["webhook_key"]
    assert stat.S_IMODE((tmp_path / "webhook_key").stat().st_mode) == 0o600


def test_the_setting_comes_first_and_is_not_shown(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, webhook_key=KEY)
    assert signing_key(settings) == KEY.encode()
    assert KEY not in repr(settings)


@pytest.mark.parametrize("more", [{"webhook_key": "short"}, {"database_url": "postgresql://db/x"}])
def test_a_key_that_is_missing_or_weak_is_named(tmp_path: Path, more: dict[str, Any]) -> None:
    with pytest.raises(NotReady, match="DETCO_WEBHOOK_KEY"):
        signing_key(load_settings(data_dir=tmp_path, dataset_roots=("/",), **more))


def test_secrets_differ_by_webhook_generation_and_key() -> None:
    made = [secret_of(key, one, n) for key in (b"a", b"b") for one in ("whk_1", "whk_2") for n in (1, 2)]
    assert len(set(made)) == len({check_of(secret) for secret in made}) == 8
    assert all(secret.startswith("whsec_") and check_of(secret) not in secret for secret in made)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    # The example of the specification (standard-webhooks, "Verifying webhooks manually").
    secret, message = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
    headers = signature_headers([secret], message, 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": message,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
