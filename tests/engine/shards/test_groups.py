"""The group of an event, where one server works out the `group` calls for all shards: see `with_calls_by_person`."""

from tests.engine import test_order_and_groups as tests

client = tests.client
test_events_stay_with_the_group_of_their_time = tests.test_events_stay_with_the_group_of_their_time
test_whoever_changes_groups_often = tests.test_whoever_changes_groups_often_is_in_the_group_of_each_time
test_one_group_however_often_it_is_said = tests.test_one_group_however_often_it_is_said_needs_no_other_way
