"""Ids and names: which are accepted, how the others are refused, what is derived from a key."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import ConfigError, UsageError
from runner.ids import check_id, check_name, check_namespace, check_queue, id_from_key, new_id


@pytest.mark.parametrize("id", ["a", "7", "order-7", "a.b_c:d@e-f", "x" * 200])
def test_an_id_that_fits_is_returned(id):
    assert check_id(id) == id


WRONG = ["", "-a", ".a", ":a", "a b", "a\n", "a{b}", "a|b", "a/b", "../a", "ä", "a\x00", "a\u202eb", "x" * 201, None, 7]


@pytest.mark.parametrize("id", WRONG)
def test_an_id_that_does_not_fit_is_refused_with_the_rule(id):
    with pytest.raises(UsageError, match=r"^execution id .* does not fit: 1 to 200 of the characters"):
        check_id(id)


@pytest.mark.parametrize("name", ["a", "default", "gpu.large", "x" * 64])
def test_a_name_that_fits_is_returned(name):
    assert check_name(name) == check_queue(name) == check_namespace(name) == name


@pytest.mark.parametrize("name", [*WRONG, "a:b", "a@b", "x" * 65])
def test_a_name_that_does_not_fit_is_refused_with_the_rule(name):
    with pytest.raises(UsageError, match=r"^workflow name .* does not fit: 1 to 64 of the characters"):
        check_name(name, what="workflow name")
    with pytest.raises(UsageError, match=r"^queue name "):
        check_queue(name)
    with pytest.raises(ConfigError, match=r"^namespace "):
        check_namespace(name)


def test_what_is_refused_cannot_forge_a_line_of_the_log_nor_flood_it():
    with pytest.raises(UsageError) as refused:
        check_id("a\nFAKE \x1b[2J" + "x" * 100_000)
    assert "\n" not in str(refused.value)
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_new_ids_fit_and_differ():
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(check_id(id) for id in ids)


def test_the_id_of_a_key_never_changes():
    assert id_from_key("approve-order", "order-7") == "key-4e8a1a9620c8221d3e6373d8c933dc879e3a6a15"


@settings(deadline=None)
@given(st.tuples(st.text(), st.text(min_size=1)), st.tuples(st.text(), st.text(min_size=1)))
def test_the_id_of_a_key_is_another_for_every_pair(one, other):
    assert (id_from_key(*one) == id_from_key(*other)) == (one == other)
    assert check_id(id_from_key(*one))


def test_workflow_and_key_do_not_run_into_each_other():
    assert id_from_key("a", "bc") != id_from_key("ab", "c")
    assert id_from_key("1:a", "b") != id_from_key("1", ":ab")


@pytest.mark.parametrize("key", ["", "\ud800", None, 7])
def test_a_key_that_cannot_be_stored_is_refused(key):
    with pytest.raises(UsageError, match=r"^idempotency_key: "):
        id_from_key("w", key)
