"""The group of an event, where one server joins the rows of all shards to the `group` calls."""

from tests.engine import test_order_and_groups as tests

client = tests.client
test_events_stay_with_the_group_of_their_time = tests.test_events_stay_with_the_group_of_their_time
test_whoever_changes_groups_often = tests.test_whoever_changes_groups_often_is_in_the_group_of_each_time
