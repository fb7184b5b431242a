"""The restart budget: so many within a window, with pauses that grow."""

from pp1_orchestrator.supervision.supervisor import RestartBudget


def test_pauses_grow_and_then_it_is_used_up():
    budget = RestartBudget(4, 600, (1, 4, 16))
    assert [budget.spend(now) for now in (0, 10, 20, 30, 40)] == [1, 4, 16, 16, None]


def test_what_lies_a_window_back_is_forgotten():
    budget = RestartBudget(2, 600, (1, 4))
    assert [budget.spend(now) for now in (0, 300, 599, 600, 899, 900)] == [1, 4, None, 4, None, 4]


def test_zero_allows_none():
    assert RestartBudget(0, 600, (1,)).spend(0) is None
