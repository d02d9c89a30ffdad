import re

from control import errors
from detco_core.contract.errors import Fault


def every_error(base: type[errors.ControlError]) -> list[type[errors.ControlError]]:
    return [base, *(found for child in base.__subclasses__() for found in every_error(child))]


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert sorted(drawn) == sorted(cls.__name__ for cls in every_error(errors.ControlError)[1:])


def test_codes_tell_errors_apart() -> None:
    codes = [cls.code for cls in every_error(errors.ControlError)]
    assert len(set(codes)) == len(codes)


def test_messages_name_the_thing_and_the_remedy() -> None:
    assert str(errors.NotFound("model", "net")) == "there is no model 'net'"
    assert str(errors.InUse("model net:1", ["alias production", "pin x"])) == (
        "model net:1 is held by alias production, pin x; remove those first"
    )
    assert str(errors.InvalidRequest("a.b", "is wrong", Fault("c", "too"))) == "a.b: is wrong; c: too"
    assert str(errors.StaleVersion("alias", 1, 3)) == "alias is at version 3, not 1: read it again, then decide"
