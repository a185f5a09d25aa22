"""A dead letter of the largest body is written and read whole too."""

from tests.unit.contract.test_dead_letter import BYTES, check_whole


@BYTES
def test_it_is_whole_and_each_of_its_records_fits_into_the_topic(byte: bytes) -> None:
    check_whole(byte, 10 * 1024 * 1024)
