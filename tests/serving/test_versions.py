"""What is loaded and unloaded when: never a gap, whatever fails."""

from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server.model_config import VersionPolicy
from serving.model_server.versions import RetryPolicy, State, VersionState, to_load, to_unload

UP = VersionState(State.AVAILABLE)
RETRY = RetryPolicy(max_retries=2, interval_s=10)


def test_policies_choose_from_what_is_on_disk():
    found = {1, 2, 10}
    assert VersionPolicy().wanted(found) == {10}
    assert VersionPolicy("latest", 5).wanted(found) == {1, 2, 10}
    assert VersionPolicy("all").wanted(found) == {1, 2, 10}
    assert VersionPolicy("specific", versions=(2, 7)).wanted(found) == {2}
    assert VersionPolicy().wanted(set()) == set()


def test_a_version_that_failed_is_tried_again_after_a_while_but_not_for_ever():
    state, now_s, tries = VersionState(State.START), 0.0, []
    for _ in range(100):
        if to_load({1: state} if tries else {}, frozenset({1}), RETRY, now_s) == 1:
            state = RETRY.failed(state, StatusCode.NOT_FOUND, "gone", now_s)
            tries.append(now_s)
        now_s += 1
    assert tries == [0, 10, 20]


def test_an_old_version_goes_only_when_a_wanted_one_has_taken_over():
    failed = VersionState(State.END, StatusCode.INTERNAL, "broken", 9)
    assert to_unload({1: UP, 2: failed}, frozenset({2})) == []
    assert to_unload({1: UP, 2: VersionState(State.LOADING)}, frozenset({2})) == []
    assert to_unload({1: UP, 2: UP}, frozenset({2})) == [1]
    assert to_unload({1: UP}, frozenset()) == []
    assert to_unload({1: UP}, frozenset(), is_served=False) == [1]


def test_a_version_that_was_unloaded_comes_back_at_once():
    assert to_load({1: VersionState(State.END), 2: UP}, frozenset({1}), RETRY, 0.0) == 1


@given(
    st.lists(st.tuples(st.sets(st.integers(1, 4)), st.sets(st.integers(1, 4))), max_size=20),
)
def test_once_something_is_available_something_always_is(steps):
    """Each step: which versions are wanted, and which of them can't be loaded."""
    states: dict[int, VersionState] = {}
    was_available = False
    for now_s, (wanted, broken) in enumerate(steps):
        while (version := to_load(states, frozenset(wanted), RETRY, float(now_s))) is not None:
            before = states.get(version, VersionState(State.START))
            states[version] = RETRY.failed(before, StatusCode.INTERNAL, "", float(now_s)) if version in broken else UP
        for version in to_unload(states, frozenset(wanted)):
            states[version] = VersionState(State.END)
        is_available = any(state.state == State.AVAILABLE for state in states.values())
        assert is_available or not was_available
        was_available = is_available
