"""The meaning that is easy to get wrong: each sentence of the specification is a test."""

import pytest

from labdock.errors import SearchError

PEOPLE = '| makeresults format=csv data="user,n,t\nAnna,1,x\nbert,2,\nCARL,,y\n,4,x"'


def users(lab, command):
    return lab.column(f"{PEOPLE} | {command}", "user")


# -- search


def test_or_binds_tighter_than_and_in_search(lab):
    assert users(lab, "search user=anna OR user=bert n=2") == ["bert"]
    assert users(lab, "search n=2 user=anna OR user=bert") == ["bert"]


def test_and_binds_tighter_than_or_in_where(lab):
    assert users(lab, 'where user="Anna" OR user="bert" AND n=1') == ["Anna"]
    assert users(lab, 'where n=1 AND user="Anna" OR user="bert"') == ["Anna", "bert"]


def test_parentheses_group_in_both(lab):
    assert users(lab, "search (user=anna n=1) OR user=bert") == ["Anna", "bert"]
    assert users(lab, 'where (user="Anna" OR user="bert") AND n=2') == ["bert"]


def test_not_comes_first_in_both(lab):
    assert users(lab, "search NOT user=anna n=2") == ["bert"]
    assert users(lab, 'where NOT user="Anna" AND n=2') == ["bert"]


def test_lower_case_operators_are_no_operators(lab):
    with pytest.raises(SearchError, match="upper case"):
        users(lab, 'where user="Anna" or n=2')
    assert users(lab, "search anna or bert") == []  # `or` is a word to look for


def test_search_is_case_insensitive_and_where_is_not(lab):
    assert users(lab, "search user=ANNA") == ["Anna"]
    assert users(lab, 'where user="ANNA"') == []


def test_star_matches_anything(lab):
    assert users(lab, "search user=*a*") == ["Anna", "CARL"]
    assert users(lab, "search user=*") == ["Anna", "bert", "CARL"]
    assert users(lab, "search t=x*") == ["Anna", None]


@pytest.mark.parametrize("odd", ["50%", "a_b", "a\\\\b", "x*y", "'", "–", "ÄÖ"])
def test_only_the_star_is_special_in_values(lab, odd):
    made = f'| makeresults | eval f="{odd}"'
    assert lab.rows(f'{made} | search f="{odd}" | stats count') == [{"count": 1}]
    assert lab.rows(f'{made} | search f="*{odd}*" | stats count') == [{"count": 1}]
    assert lab.rows(f'| makeresults | eval f="aXb" | search f="{odd}*" | stats count') == [{"count": 0}]


def test_double_quotes_are_text_and_single_quotes_fields_in_where(lab):
    assert users(lab, "where 'user'=\"Anna\"") == ["Anna"]
    assert lab.rows("| makeresults | eval a=1, b=1 | where 'a'='b' | stats count") == [{"count": 1}]
    assert lab.rows('| makeresults | eval a=1 | where "a"="b" | stats count') == [{"count": 0}]


def test_not_equals_needs_the_field_and_not_does_not(lab):
    assert users(lab, "search NOT t=x") == ["bert", "CARL"]
    assert users(lab, "search t!=x") == ["CARL"]
    assert users(lab, "search NOT nosuch=1 | stats count | rename count as user") == [4]
    assert users(lab, "search nosuch!=1") == []


def test_field_names_are_case_sensitive(lab):
    assert lab.rows("| makeresults | eval A=1, a=2 | table A a") == [{"A": 1, "a": 2}]
    assert users(lab, "search USER=anna") == []


def test_free_terms_match_whole_words(lab):
    made = '| makeresults | eval _raw="failed password for root from 10.0.0.5"'
    for term, hits in [
        ("root", 1),
        ("ROOT", 1),
        ("roo", 0),
        ("roo*", 1),
        ("10.0.0.5", 1),
        ('"password for"', 1),
        ("for root", 1),
    ]:
        assert lab.rows(f"{made} | search {term} | stats count") == [{"count": hits}], term


# -- numbers as texts


def test_comparison_is_numeric_where_both_are_numbers(lab):
    made = '| makeresults format=csv data="v\n9\n10\nabc"'
    assert lab.column(f"{made} | where v<10", "v") == ["9"]
    assert lab.column(f'{made} | where v="10.0"', "v") == ["10"]
    assert lab.column(f'{made} | where v>"abb"', "v") == ["abc"]
    assert lab.column(f"{made} | where v!=9", "v") == ["10", "abc"]
    assert lab.column(f"{made} | search v<10", "v") == ["9"]
    assert lab.column(f"{made} | search v=10.0", "v") == ["10"]


def test_nan_and_inf_are_names(lab):
    made = '| makeresults format=csv data="v\nnan\ninf\n5"'
    assert lab.rows(f"{made} | stats sum(v) as s count(v) as c") == [{"s": 5.0, "c": 3}]


def test_long_numbers_in_texts_do_not_lose_digits(lab):
    made = '| makeresults format=csv data="id\n90071992547409931\n90071992547409930\nx"'
    assert lab.rows(f"{made} | search id=90071992547409931 | stats count") == [{"count": 1}]


# -- sort


def test_sort_limits_to_ten_thousand_unless_told(lab):
    made = "| makeresults count=10500 | streamstats count as n"
    assert lab.rows(f"{made} | sort n | stats count") == [{"count": 10_000}]
    assert lab.rows(f"{made} | sort 0 n | stats count") == [{"count": 10_500}]
    assert lab.rows(f"{made} | sort 5 -n | stats max(n) as m count") == [{"m": 10_500, "count": 5}]


VALUES = '| makeresults format=csv data="v,w\n10,1\n9,1\nb,1\n,1\nA,1\n-1,1"'


@pytest.mark.parametrize(
    ("command", "order"),
    [
        ("sort v", ["-1", "9", "10", "A", "b", None]),
        ("sort -v", ["b", "A", "10", "9", "-1", None]),
        ("sort - v", ["b", "A", "10", "9", "-1", None]),
        ("sort v desc", ["b", "A", "10", "9", "-1", None]),
        ("sort v d", ["b", "A", "10", "9", "-1", None]),
        ("sort +v", ["-1", "9", "10", "A", "b", None]),
        ("sort str(v)", ["-1", "10", "9", "A", "b", None]),
        ("sort auto(v)", ["-1", "9", "10", "A", "b", None]),
        ("sort 0 num(v) | head 3", ["-1", "9", "10"]),
        ("sort -num(v) | head 3", ["10", "9", "-1"]),
    ],
)
def test_sort_orders(lab, command, order):
    assert lab.column(f"{VALUES} | {command}", "v") == order


def test_sort_by_address(lab):
    made = '| makeresults format=csv data="ip\n10.0.0.10\n10.0.0.9\n9.255.0.1"'
    assert lab.column(f"{made} | sort ip(ip)", "ip") == ["9.255.0.1", "10.0.0.9", "10.0.0.10"]
    assert lab.column(f"{made} | sort ip", "ip") == ["10.0.0.10", "10.0.0.9", "9.255.0.1"]


# -- fillnull, bin


def test_fillnull(lab):
    made = '| makeresults format=csv data="a,b\n,x\n1,"'
    assert lab.rows(f"{made} | fillnull") == [{"a": 0, "b": "x"}, {"a": 1, "b": "0"}]
    assert lab.rows(f"{made} | fillnull value=- b new") == [
        {"a": None, "b": "x", "new": "-"},
        {"a": 1, "b": "-", "new": "-"},
    ]


def test_bin_takes_options_on_either_side(lab):
    made = "| makeresults | eval _time=1534777259"
    for command in ("bin _time span=1m", "bin span=1m _time", "bucket _time span=1m"):
        assert lab.column(f"{made} | {command} | table _time", "_time") == [1534777200.0]
    assert lab.rows(f"{made} | bin span=1h _time as hour | table hour _time") == [
        {"hour": 1534777200.0, "_time": 1534777259}
    ]


def test_hours_are_multiples_of_the_epoch_and_days_snap_in_the_users_zone(lab):
    made = "| makeresults | eval _time=1534800600"  # 2018-08-20 21:30 UTC, 03:00 of the 21st in Kolkata
    days = {"UTC": 1534723200.0, "Asia/Kolkata": 1534789800.0}
    for zone, start in days.items():
        assert lab.column(f"{made} | bin _time span=1d | table _time", "_time", timezone=zone) == [start]
        assert lab.column(f"{made} | bin _time span=1h | table _time", "_time", timezone=zone) == [1534798800.0]


def test_bin_makes_at_most_a_hundred_ranges(lab):
    made = "| makeresults count=1000 | streamstats count as n"
    assert lab.rows(f"{made} | bin n | stats dc(n) as c")[0]["c"] <= 101
    assert lab.rows(f"{made} | bin bins=10 n | stats dc(n) as c")[0]["c"] <= 11


# -- stats


def test_stats_without_by_is_one_row_even_of_nothing(lab):
    assert lab.rows("| makeresults count=0 | stats count sum(x) as s") == [{"count": 0, "s": None}]
    assert lab.rows("| makeresults count=0 | stats count by x") == []


def test_count_counts_events_and_count_of_a_field_its_values(lab):
    assert lab.rows(f"{PEOPLE} | stats count count(t) count(n)") == [{"count": 4, "count(t)": 3, "count(n)": 3}]


def test_averages_skip_nulls_and_words(lab):
    made = '| makeresults format=csv data="v\n1\nx\n\n5"'
    assert lab.rows(f"{made} | stats avg(v) sum(v)") == [{"avg(v)": 3.0, "sum(v)": 6.0}]


def test_names_aliases_and_commas(lab):
    found = lab.rows(f"{PEOPLE} | stats c, dc(t) distinct_count(t) as d, mean(n) avg(n) as a c(n)")
    assert found == [{"c": 4, "dc(t)": 2, "d": 2, "mean(n)": 7 / 3, "a": 7 / 3, "c(n)": 3}]


def test_events_without_a_by_field_are_dropped_and_groups_are_ordered(lab):
    assert lab.rows(f"{PEOPLE} | stats count by t") == [{"t": "x", "count": 2}, {"t": "y", "count": 1}]


def test_multivalue_by_fields_count_once_per_distinct_value(lab):
    made = '| makeresults | eval m=split("a,b,a", ",") | append [| makeresults | eval m=split("b", ",")]'
    assert lab.rows(f"{made} | stats count by m") == [{"m": "a", "count": 1}, {"m": "b", "count": 2}]


def test_values_are_distinct_and_lexicographic_and_list_has_at_most_a_hundred(lab):
    made = '| makeresults format=csv data="v\n10\n9\n10\n2"'
    assert lab.rows(f"{made} | stats values(v) as v list(v) as l") == [
        {"v": ["10", "2", "9"], "l": ["10", "9", "10", "2"]}
    ]
    assert len(lab.rows("| makeresults count=150 | streamstats count as n | stats list(n) as l")[0]["l"]) == 100


def test_first_and_last_follow_the_rows(lab):
    assert lab.rows(f"{PEOPLE} | stats first(user) as f last(user) as l") == [{"f": "Anna", "l": "CARL"}]
    assert lab.rows(f"{PEOPLE} | sort 0 -n | stats first(user) as f last(t) as l") == [{"f": "bert", "l": "y"}]


# -- order and fields


def test_head_and_tail_take_ten(lab):
    made = "| makeresults count=25 | streamstats count as n"
    assert lab.column(f"{made} | head", "n") == list(range(1, 11))
    assert lab.column(f"{made} | tail", "n") == list(range(25, 15, -1))
    assert lab.column(f"{made} | head 3 | tail 1", "n") == [3]


def test_table_keeps_the_order_given_and_expands_in_schema_order(lab):
    made = '| makeresults format=csv data="V2,a,V1,b\n1,2,3,4"'
    assert list(lab.rows(f"{made} | table b V* a")[0]) == ["b", "V2", "V1", "a"]


def test_fields_keeps_internal_fields(lab):
    assert list(lab.rows("| makeresults | eval a=1, b=2 | fields b")[0]) == ["b", "_time"]
    assert list(lab.rows("| makeresults | eval a=1, b=2 | fields - b")[0]) == ["_time", "a"]
    assert list(lab.rows("| makeresults | eval a=1 | fields - _time")[0]) == ["a"]


def test_events_come_newest_first(lab, flows):
    lab.indexes.add("net", flows.slice(0, 1000), flows.slice(1000))
    times = lab.column("index=net", "_time")
    assert times == sorted(flows["_time"].to_pylist(), reverse=True)
    assert lab.column("index=net | head 3", "_time") == times[:3]


def test_null_in_conditions_is_neither_true_nor_false(lab):
    assert lab.value("if(nosuch=1, 1, 0)") == 0
    assert lab.value("if(NOT nosuch=1, 1, 0)") == 0
    assert lab.value("if(isnull(nosuch) AND true(), 1, 0)") == 1
    assert lab.value('nosuch . "x"') is None
    assert lab.value("nosuch + 1") is None


def test_impossible_arithmetic_is_null(lab):
    for expression in ("1/0", "5%0", "sqrt(-1)", "ln(0)", "acos(2)", '"abc"*2', "9223372036854775807+1"):
        assert lab.value(expression) is None, expression


def test_whole_numbers_stay_whole(lab):
    assert lab.value("2+3*4") == 14
    assert isinstance(lab.value("2+3*4"), int)
    assert lab.value('"n=".(6/2)') == "n=3"
    assert lab.value("tostring(0.5)") == "0.5"


def test_any_of_several_values_compares(lab):
    made = '| makeresults | eval m=split("a,b", ",")'
    assert lab.rows(f'{made} | where m="b" | stats count') == [{"count": 1}]
    assert lab.rows(f"{made} | search m=B | stats count") == [{"count": 1}]
    assert lab.rows(f"{made} | search m=c | stats count") == [{"count": 0}]


# -- times


def test_relative_times_limit_a_search(lab, flows):
    lab.indexes.add("net", flows)
    moments = flows["_time"].to_pylist()
    now = 1_534_777_200.0
    inside = sum(now - 3 * 3600 <= t < now - 2 * 3600 for t in moments)
    assert inside
    count = [{"count": inside}]
    assert lab.rows("index=net earliest=-3h latest=-2h | stats count") == count
    assert lab.rows("index=net | stats count", earliest="-3h", latest="-2h") == count
    assert lab.rows("index=net earliest=-3h@h latest=-2h | stats count", earliest="-1m", latest="now") == count
    assert lab.rows("index=net earliest=2018-08-20T12:00:00 latest=2018-08-20T13:00:00 | stats count") == count
    assert lab.rows("index=net earliest=1534766400 latest=1534770000 | stats count") == count
