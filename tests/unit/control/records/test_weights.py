import pytest
from sqlalchemy import Engine

from control.db.models import Weights
from control.db.session import unit_of_work
from control.errors import NotFound
from control.records.weights import get_weights


def test_weights_are_found_by_id_and_by_newest_name(engine: Engine) -> None:
    rows = [
        Weights(id=f"wts_{n}", name="official", uri="/w.pth", architecture="resnet50", created_by="t") for n in (1, 2)
    ]
    with unit_of_work(engine) as session:
        session.add_all(rows)
    with unit_of_work(engine) as session:
        assert get_weights(session, "wts_1").id == "wts_1"
        assert get_weights(session, "official").id == "wts_2"
        with pytest.raises(NotFound, match="no weights 'x'"):
            get_weights(session, "x")
